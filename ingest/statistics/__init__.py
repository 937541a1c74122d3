"""Counts interactions by item, exactly once."""
