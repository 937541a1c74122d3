"""Training data: events, windows of histories, ranking contexts and candidate lists, in memory or on disk."""
