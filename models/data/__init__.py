"""Training data: events, items, histories and samples, in memory or on disk."""
