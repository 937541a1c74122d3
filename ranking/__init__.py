"""The candidate pipeline: from queries to lists. `build` lists the stages, and `runner` runs batches through them."""
