"""Training that continues a previous one with new events."""
