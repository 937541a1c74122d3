"""Measures how good lists are: protocols, metrics, intervals, and the methods that are compared."""
