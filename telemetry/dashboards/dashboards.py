"""All dashboards, and their files."""

import json
from pathlib import Path
from typing import Final

from telemetry.dashboards.ingest import INGEST
from telemetry.dashboards.overview import OVERVIEW
from telemetry.dashboards.panels import Dashboard, grafana
from telemetry.dashboards.quality import QUALITY
from telemetry.dashboards.serving import SERVING

FOLDER: Final = Path(__file__).resolve().parents[2] / "helm" / "recstream" / "files" / "dashboards"
DASHBOARDS: Final[tuple[Dashboard, ...]] = (OVERVIEW, INGEST, SERVING, QUALITY)

NOT_SHOWN: Final[dict[str, str]] = {}
"""Metrics that are on no dashboard, with the reason."""


def files() -> dict[Path, str]:
    """Returns the content of each dashboard's file."""
    return {
        FOLDER / f"{dashboard.uid}.json": json.dumps(grafana(dashboard), indent=2, ensure_ascii=False) + "\n"
        for dashboard in DASHBOARDS
    }
