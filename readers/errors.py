"""What can be wrong with a file as a whole. Single rows are reported instead: see `readers.report`."""


class UnreadableFile(Exception):
    """The file cannot be read as the format that was given or detected.

    The message names the file, the line where there is one, and what to do.
    """
