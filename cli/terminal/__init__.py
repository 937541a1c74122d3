"""Terminal output: tables, reports, progress bars."""
