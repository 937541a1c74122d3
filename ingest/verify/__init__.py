"""Compares the store with a fold of the log."""
