"""The list as a message: its items, reasons and id."""
