"""The whole system on one machine: servers from packages and a supervisor for our own processes."""
