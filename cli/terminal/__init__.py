"""How results look in a terminal: tables, reports, progress bars."""
