"""How often an item was acted on, as arithmetic on `ItemStats`."""

from collections.abc import Iterable
from typing import Final

from recstream.storage.v1 import catalog_pb2

MAX_HOURS: Final = 64
HOUR_MS: Final = 3_600_000
HOURS_AHEAD: Final = 1.0
"""An hour that lies further ahead weighs no more than one so far ahead."""


def hour_of(time_ms: int) -> int:
    """The hour since 1970 that a Unix time in milliseconds lies in."""
    return time_ms // HOUR_MS


def add(stats: catalog_pb2.ItemStats, event_hour: int, count: int) -> catalog_pb2.ItemStats:
    """The statistics with `count` more positive events in that hour; the argument is left as it is.

    A negative count takes events back. The newest 64 hours that ever had events are kept, whatever the order
    in which events come: an hour leaves only for a newer one, and so its count is whole as long as it is
    there. Events of older hours count in `positives` only.
    """
    hours = {bucket.hour: bucket.count for bucket in stats.hours}
    hours[event_hour] = hours.get(event_hour, 0) + count
    newest = sorted(hours)[-MAX_HOURS:]
    return catalog_pb2.ItemStats(
        positives=stats.positives + count,
        hours=[catalog_pb2.HourBucket(hour=hour, count=hours[hour]) for hour in newest],
    )


def merged(parts: Iterable[catalog_pb2.ItemStats]) -> catalog_pb2.ItemStats:
    """The sum of statistics that were counted apart; of the hours again the newest 64."""
    positives = 0
    hours: dict[int, int] = {}
    for part in parts:
        positives += part.positives
        for bucket in part.hours:
            hours[bucket.hour] = hours.get(bucket.hour, 0) + bucket.count
    return catalog_pb2.ItemStats(
        positives=positives,
        hours=[catalog_pb2.HourBucket(hour=hour, count=hours[hour]) for hour in sorted(hours)[-MAX_HOURS:]],
    )


def decayed(stats: catalog_pb2.ItemStats, now_ms: int, half_life_s: float) -> float:
    """Positive events, each weighed by 2^(-age / half-life), its age counted from the start of its hour.

    An hour that has not begun yet weighs a little over 1; no hour weighs as one further ahead than an hour.
    """
    now_hours = now_ms / HOUR_MS
    half_life_hours = half_life_s / 3600
    return float(
        sum(bucket.count * weight(now_hours - bucket.hour, half_life_hours) for bucket in stats.hours)
    )


def weight(age_hours: float, half_life_hours: float) -> float:
    """2^(-age / half-life), 0 where that is too small to be written."""
    return float(2.0 ** -(max(age_hours, -HOURS_AHEAD) / half_life_hours))
