"""What a model may learn from and what it is asked, by protocol."""
