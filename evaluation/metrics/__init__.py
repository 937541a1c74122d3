"""Accuracy, beyond-accuracy metrics and their confidence intervals."""
