"""What can be wrong with a file as a whole."""


class UnreadableFile(Exception):
    """The file cannot be read as what it was said to be; the message says where and what to do."""
