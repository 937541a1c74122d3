"""Triton's model repository: configurations, installing and removing versions."""
