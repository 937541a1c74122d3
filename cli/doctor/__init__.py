"""The checks of `recstream doctor`: this machine and the servers."""
