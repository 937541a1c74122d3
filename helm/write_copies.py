"""Writes the chart's copies of the alerts and the dashboards: `python helm/write_copies.py`.

A chart reads nothing outside its folder, and deploy/ is for those who have no chart.
"""

import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
DEPLOY: Final = HERE.parent / "deploy"
FILES: Final = HERE / "recstream" / "files"


def copies() -> dict[Path, str]:
    """What files/ is to have, by path within it."""
    found = {Path("alerts.yaml"): DEPLOY / "alerts" / "recstream.yaml"}
    for path in sorted((DEPLOY / "dashboards").glob("*.json")):
        found[Path("dashboards") / path.name] = path
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


def present() -> dict[Path, str]:
    """What files/ has."""
    return {
        path.relative_to(FILES): path.read_text(encoding="utf-8")
        for path in FILES.rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    wanted = copies()
    for name in set(present()) - set(wanted):
        (FILES / name).unlink()
    for name, text in wanted.items():
        (FILES / name).parent.mkdir(parents=True, exist_ok=True)
        (FILES / name).write_text(text, encoding="utf-8")
    sys.stdout.write("written: files/\n")
