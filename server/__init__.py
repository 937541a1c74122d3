"""The gRPC server: ranked slate_service, streams, and writes to the log."""
