"""The gRPC services. Each only translates between messages and the classes that do the work."""
