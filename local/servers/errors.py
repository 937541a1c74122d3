"""What can go wrong with a server that this machine runs for itself."""


class EmbeddedError(Exception):
    """Root of this room's errors; the message says what to do."""


class NotInstalled(EmbeddedError):
    """A package, library or file that an embedded server needs is missing."""


class JarsRefused(EmbeddedError):
    """The jars that were fetched are not those whose hashes are committed."""


class PortTaken(EmbeddedError):
    """The port that was asked for by number belongs to another process."""


class StartFailed(EmbeddedError):
    """A server ended, or did not answer in time; the message ends with its log's last lines."""
