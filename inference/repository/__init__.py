"""A bundle in a Triton model repository."""
