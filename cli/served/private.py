"""Settings of the private stack that is asked: those of the product, and nothing that time could change."""

import math
import time
from pathlib import Path

from configuration.settings import Settings

_DAY_MS = 86_400_000
_KEPT_DAYS = 365
_PATIENT_MS = 10_000.0


def private(settings: Settings, bundle: Path, folder: Path, oldest_ms: int) -> Settings:
    """For a stack in `folder` that is told events from `oldest_ms` on.

    Lists are of the moment that a call names; events stay however old they are; figures of popularity are never used
    again; and nobody gives up on the model or the store because this machine is slow: what is measured is how good
    lists are, not how fast.
    """
    days = max(
        settings.profiles.time_to_live_days,
        math.ceil(max(0, int(time.time() * 1000) - oldest_ms) / _DAY_MS) + _KEPT_DAYS,
    )
    return settings.model_copy(
        update={
            "bundle": bundle.absolute(),
            "bundles": folder / "bundles",
            # One order of all events, as the evaluation has it; and one transaction of statistics at a time.
            "kafka": settings.kafka.model_copy(update={"partitions": 1}),
            "profiles": settings.profiles.model_copy(update={"time_to_live_days": days}),
            "catalog": settings.catalog.model_copy(update={"popularity_seconds": 0.0}),
            "ingest": settings.ingest.model_copy(
                update={"statistics_interval_ms": 0.0, "model_budget_ms": _PATIENT_MS}
            ),
            "ranking": settings.ranking.model_copy(update={"model_timeout_ms": _PATIENT_MS}),
            "server": settings.server.model_copy(update={"as_of": True, "profile_wait_ms": _PATIENT_MS}),
        }
    )
