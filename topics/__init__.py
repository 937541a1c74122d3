"""The Kafka topics that the rooms meet at: names, creation and checks, ids, and the producer."""
