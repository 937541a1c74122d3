"""Open streams: who is subscribed to what, what woke a stream, and the frames it is sent."""
