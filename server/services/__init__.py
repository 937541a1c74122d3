"""The gRPC services: each only translates between the contract and the classes that do the work."""
