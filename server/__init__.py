"""The gRPC server: slates, streams, and writes to the log."""
