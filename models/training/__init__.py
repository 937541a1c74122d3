"""Trains a model on data."""
