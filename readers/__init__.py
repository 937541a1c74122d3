"""Files that people have, read into checked rows, with a report of what was wrong and what was done."""
