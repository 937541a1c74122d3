"""Files of interactions and items, read into checked rows, with a report of what was wrong and what was done."""
