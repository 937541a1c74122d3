"""Interactions counted per item, exactly once."""
