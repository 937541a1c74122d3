"""From data to a trained model."""
