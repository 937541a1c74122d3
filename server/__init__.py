"""The gRPC server: ranked lists, streams, and writes to the log."""
