"""What a command says when the server refuses a request or does not answer."""

from cli.errors import CommandError
from recstream.client import InvalidRequest, RecstreamError


def server_error(server: str, error: RecstreamError) -> CommandError:
    """Returns the error of a command.

    Args:
        server: host:port of the server.
        error: The error of the call.
    """
    if not isinstance(error, InvalidRequest):
        return CommandError(f"{server}: {error}", "`recstream doctor` says what is reachable")
    about_filter = any(violation.field == "filter_text" for violation in error.violations)
    return CommandError(
        f"{server} refuses the request: {error}",
        "docs/filters.md has the form of --filter" if about_filter else "",
    )
