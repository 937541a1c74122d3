"""Files named on a command line, as tables of events and items."""
