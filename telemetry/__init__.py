"""What operators see: traces, logs, health, the list of metrics and the dashboards made from it."""
