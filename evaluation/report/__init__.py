"""Results as values, JSON and charts."""
