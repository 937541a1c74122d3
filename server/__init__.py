"""The gRPC server: slates, streams of slates, and writes to the log."""
