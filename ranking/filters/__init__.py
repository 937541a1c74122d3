"""Filters: the rules on which items may be listed."""
