"""Hydration: looks up what the stages need to know about users and candidates."""
