"""Data-parallel training: ranks, collective operations, and devices."""
