"""Folds interactions into profiles on Valkey."""
