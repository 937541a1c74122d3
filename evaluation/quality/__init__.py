"""Makes docs/quality.md: trains the models, measures them, and writes the page."""
