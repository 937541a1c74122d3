"""Kafka, Valkey and Triton, started from packages."""
