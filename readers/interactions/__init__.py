"""Reads interaction files of any format into one table of checked rows."""
