"""Interactions folded into profiles on Valkey."""
