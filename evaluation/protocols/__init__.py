"""Protocols: which events a model may be trained on, and which queries it must answer."""
