"""A larger attention model, and what the served model learns from it."""
