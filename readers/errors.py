"""Errors that concern a whole file. Problems of single rows are reported instead: see `readers.report`."""


class UnreadableFile(Exception):
    """The file cannot be read as the format that was given or detected.

    The message names the file, the line if there is one, and what to do.
    """
