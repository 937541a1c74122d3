"""What operators see: traces, logs, health, the list of metrics, and the dashboards that are generated from it."""
