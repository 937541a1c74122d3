"""Checkpoints, from which an interrupted training continues with the same result."""
