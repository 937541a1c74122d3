"""recstream's own methods in an evaluation."""
