"""Data-parallel training: ranks, collectives between processes, and devices."""
