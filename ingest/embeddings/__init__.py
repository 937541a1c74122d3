"""Turns items into vectors, by content hash and model version."""
