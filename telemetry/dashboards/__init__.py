"""What operators see: the list of metrics, the dashboards that are made of it, and the pages about both."""
