"""The methods `team/*`: our own vocabulary, with nothing renamed or left out."""
