"""Fixtures for the tests of ingest."""

from ingest_world import make_world, world

__all__ = ["make_world", "world"]
