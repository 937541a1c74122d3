"""Profiles as the server reads and shows them."""
