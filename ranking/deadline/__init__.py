"""The time budget of a list, and its fallbacks when time runs out."""
