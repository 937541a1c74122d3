"""Folds changes of items into items."""
