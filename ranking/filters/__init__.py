"""Which items may be on a list."""
