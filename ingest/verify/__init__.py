"""The store compared with a fold of the log."""
