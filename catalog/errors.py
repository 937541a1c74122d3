"""Errors in the catalogue's input."""


class CatalogError(Exception):
    """Base of this room's errors."""


class BadRecord(CatalogError):
    """A record of one of the catalogue's topics cannot be used. The message gives the reason, in 500 characters."""

    def __init__(self, reason: str) -> None:
        self.reason = reason[:500]
        super().__init__(self.reason)
