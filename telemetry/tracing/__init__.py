"""Traces of single events, from the sender to the frame on a stream: W3C context, spans, exporters."""
