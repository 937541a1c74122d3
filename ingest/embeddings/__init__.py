"""Items to vectors, by content hash and model version."""
