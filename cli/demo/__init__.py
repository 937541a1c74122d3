"""The demonstration on MovieLens-100K: train on the past, replay the rest live, and measure."""
