"""Errors in the catalogue's input."""


class CatalogError(Exception):
    """Base of this room's errors."""


class BadRecord(CatalogError):
    """A record of one of the catalogue's topics cannot be used. The message gives the reason, in 500 characters."""

    def __init__(self, reason: str) -> None:
        self.reason = reason[:500]
        super().__init__(self.reason)


class BadFilterText(CatalogError):
    """A filter's text cannot be read.

    Attributes:
        column: Where, in characters, from 1.
        problem: What is expected there, and what was found.
    """

    def __init__(self, column: int, problem: str) -> None:
        self.column = column
        self.problem = problem[:500]
        super().__init__(f"column {column}: {self.problem}")
