"""How long a list may take, and what it falls back to when time runs out."""
