"""Parquet files of events that are larger than memory."""
