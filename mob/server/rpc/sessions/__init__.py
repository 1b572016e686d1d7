"""The methods `session/*` and `turn/*`."""
