"""Lists the measurements: each module's name and the first line of its docstring."""

import ast
from pathlib import Path


def main() -> None:
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        if 'if __name__ == "__main__":' in path.read_text():
            print(f"{path.stem:<20}{docstring.splitlines()[0]}")
    print("\n`bin/bench NAME --help` says more.")


if __name__ == "__main__":
    main()
