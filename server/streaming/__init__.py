"""Open streams: what wakes them, and the frames that they send."""
