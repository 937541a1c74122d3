"""How often items are acted on, weighed by age."""
