"""The store of profiles on Valkey."""
