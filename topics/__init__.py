"""The Kafka topics: their names, creation, checks and ids, and the producer."""
