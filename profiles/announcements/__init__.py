"""Announcements: published with every write of a profile, and received by processes that watch the user."""
