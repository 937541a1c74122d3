"""`recstream demo`: trains on the past of MovieLens-100K, replays the rest live, and measures."""
