"""What `recstream doctor` looks at: this machine, and the servers."""
