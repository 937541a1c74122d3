"""The slate: the list as a message, with its reasons and its id."""
