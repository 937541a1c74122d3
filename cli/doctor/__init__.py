"""What `recstream doctor` checks: this machine, and the servers."""
