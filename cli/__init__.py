"""The `recstream` command: its subcommands, the demo, and their terminal output."""
