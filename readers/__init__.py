"""Reads files of interactions and items into checked rows, and reports what was wrong and what was done."""
