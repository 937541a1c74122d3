"""`recstream demo`: train on the past of MovieLens-100K, replay the rest live, and measure."""
