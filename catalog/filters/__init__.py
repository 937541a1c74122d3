"""Which items match a request's filter."""
