"""The pure fold of events into a profile."""
