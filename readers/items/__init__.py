"""Reads item files of any format into one list of checked items."""
