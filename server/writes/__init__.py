"""Everything that the server writes to Kafka."""
