"""Reads items from the catalogue in memory."""
