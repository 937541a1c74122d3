"""Everything the server appends to Kafka."""
