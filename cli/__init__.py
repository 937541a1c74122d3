"""The `recstream` command: its subcommands, the demo, and how they look in a terminal."""
