"""The bytes of HTTP: one small server end, over any trio stream."""
