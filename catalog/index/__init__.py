"""Nearest items: one protocol, exact scans and HNSW behind it."""
