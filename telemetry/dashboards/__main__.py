"""`python -m telemetry.dashboards` writes docs/metrics.md and helm/recstream/files/dashboards/."""

import sys

from telemetry.dashboards.dashboards import FOLDER, files
from telemetry.dashboards.page import PAGE, page

if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in {PAGE: page(), **files()}.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
