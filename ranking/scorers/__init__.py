"""Scorers: the steps of the deadline ladder."""
