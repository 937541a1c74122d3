"""Exports a trained model to a bundle that Triton serves."""
