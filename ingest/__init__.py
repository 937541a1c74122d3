"""From Kafka to profiles, item vectors and popularity."""
