"""The tokens of the contract: what is in them, how they are sealed, and what they stand for when they come back."""
