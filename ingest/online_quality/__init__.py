"""Online quality: how users respond to the lists that they get."""
