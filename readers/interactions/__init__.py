"""Interaction files of any format as one table of checked rows."""
