"""An evaluation through the front door: events through Kafka, lists from the gRPC server."""
