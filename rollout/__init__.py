"""How a model version comes to be served, and ceases to be: publish, canary, promote, roll back, retire."""
