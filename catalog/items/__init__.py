"""An item as the catalogue holds it, and its limits."""
