"""The whole system on one machine: servers from packages, and a supervisor of ingest and the server."""
