"""The candidate pipeline: from queries to lists. `build` names the stages, and `runner` takes batches through them."""
