"""Item files of any format as one list of checked items."""
