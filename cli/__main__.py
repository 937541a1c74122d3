"""`python -m cli`: the recstream command. It prints an error that the user can act on as two lines, not a traceback."""

import logging
import sys

from pydantic import ValidationError
from rich.console import Console

from cli.app import app
from cli.errors import terminal_text
from configuration.settings import explain
from telemetry.logs import configure_logs


def main() -> None:
    """Runs the command that the arguments name. Exits with status 1 if it fails."""
    console = Console(stderr=True, highlight=False)
    # Standard output is for answers. `serve` and `ingest` log more.
    configure_logs(logging.WARNING)
    try:
        app(prog_name="recstream")
    except ValidationError as error:
        if error.title != "Settings":
            raise
        console.print(explain(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)
    except Exception as error:
        if (text := terminal_text(error)) is None:
            raise
        what, next_step = text
        console.print(what, style="red", markup=False, soft_wrap=True)
        if next_step:
            console.print(next_step, markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
