"""Surfaces as data: read from a file, carried by the topic `surfaces`, and replaced while lists are made."""
