"""Announcements: published with every write of a profile, and received by those who watch the user."""
