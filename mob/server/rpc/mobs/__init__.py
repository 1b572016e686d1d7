"""The methods `mob/*`."""
