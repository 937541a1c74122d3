"""What a query needs before sources are asked: the profile's state, read or folded."""
