"""`python -m cli`: the recstream command. Errors that a person can act on are two lines, not a traceback."""

import sys

from pydantic import ValidationError
from rich.console import Console

from cli.app import app
from configuration.errors import CommandError
from configuration.settings import explain


def main() -> None:
    """Run the command that the arguments name."""
    error_console = Console(stderr=True, highlight=False)
    try:
        app(prog_name="recstream")
    except CommandError as error:
        error_console.print(error.what, style="red", markup=False, soft_wrap=True)
        if error.next_step:
            error_console.print(error.next_step, markup=False, soft_wrap=True)
        sys.exit(1)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        error_console.print(explain(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
