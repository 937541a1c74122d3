"""How often items are acted on, weighted by age."""
