"""The candidate pipeline: hydration, sources, filters, scorers, selector, reasons, slate."""
