"""The list of metrics, the dashboards that are generated from it, and docs/metrics.md."""
