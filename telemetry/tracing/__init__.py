"""Traces of single events, from whoever sent them to the frame on a stream: W3C context, spans, exporters."""
