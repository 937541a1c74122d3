"""Checkpoints: an interrupted training resumes and ends with the same weights, bit for bit."""
