"""How often an item was acted on, as arithmetic on `ItemStats`.

The newest 64 hours that ever had events are kept as they are. What older hours had is summed by day, and of the days
the newest 256 are kept; what is older still counts in `positives` only. An hour leaves only for a newer one, and what
it had goes to its day; an event of an hour that has left, or is older, goes to the day at once. So which hours and
days there are, and what they hold, depends on which events there were and on nothing else: in any order, in any
parts, the result is the same.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from recstream.storage.v1 import catalog_pb2

MAX_HOURS: Final = 64
MAX_DAYS: Final = 256
HOUR_MS: Final = 3_600_000
HOURS_AHEAD: Final = 1.0
"""An hour that lies further ahead weighs no more than one so far ahead."""
DAY_HOURS: Final = 24
MIDDLE_OF_DAY: Final = 12
"""The hour of its day from which the age of a day's events is counted."""


def hour_of(time_ms: int) -> int:
    """The hour since 1970 that a Unix time in milliseconds lies in."""
    return time_ms // HOUR_MS


def add(stats: catalog_pb2.ItemStats, by_hour: Mapping[int, int]) -> catalog_pb2.ItemStats:
    """The statistics with so many more positive events in each of these hours; the argument is left as it is.

    A negative count takes events back.
    """
    made = catalog_pb2.ItemStats()
    made.CopyFrom(stats)
    there = {bucket.hour: bucket for bucket in made.hours}
    if by_hour.keys() <= there.keys():  # the ordinary case: an item that is acted on often
        made.positives += sum(by_hour.values())
        for hour, count in by_hour.items():
            there[hour].count += count
        return made
    return merged([stats, _made(sum(by_hour.values()), by_hour, {})])


def merged(parts: Iterable[catalog_pb2.ItemStats]) -> catalog_pb2.ItemStats:
    """The sum of statistics that were counted apart."""
    positives = 0
    hours: dict[int, int] = {}
    days: dict[int, int] = {}
    for part in parts:
        positives += part.positives
        for bucket in part.hours:
            hours[bucket.hour] = hours.get(bucket.hour, 0) + bucket.count
        for day, count in zip(part.days, part.day_counts, strict=True):
            days[day] = days.get(day, 0) + count
    return _made(positives, hours, days)


def _made(positives: int, hours: Mapping[int, int], days: dict[int, int]) -> catalog_pb2.ItemStats:
    """Statistics of what is kept of these hours and days."""
    ordered = sorted(hours)
    for hour in ordered[:-MAX_HOURS]:
        day = hour // DAY_HOURS
        days[day] = days.get(day, 0) + hours[hour]
    kept = sorted(days)[-MAX_DAYS:]
    return catalog_pb2.ItemStats(
        positives=positives,
        hours=[catalog_pb2.HourBucket(hour=hour, count=hours[hour]) for hour in ordered[-MAX_HOURS:]],
        days=kept,
        day_counts=[days[day] for day in kept],
    )


def decayed(stats: catalog_pb2.ItemStats, now_ms: int, half_life_s: float) -> float:
    """Positive events, each weighed by 2^(-age / half-life), its age counted from the start of its hour, or from the
    middle of its day.

    An hour that has not begun yet weighs a little over 1; no hour weighs as one further ahead than an hour.
    """
    now_hours = now_ms / HOUR_MS
    half_life_hours = half_life_s / 3600
    by_hour = sum(bucket.count * weight(now_hours - bucket.hour, half_life_hours) for bucket in stats.hours)
    by_day = sum(
        count * weight(now_hours - (day * DAY_HOURS + MIDDLE_OF_DAY), half_life_hours)
        for day, count in zip(stats.days, stats.day_counts, strict=True)
    )
    return float(by_hour + by_day)


def weight(age_hours: float, half_life_hours: float) -> float:
    """2^(-age / half-life), 0 where that is too small to be written."""
    return float(2.0 ** -(max(age_hours, -HOURS_AHEAD) / half_life_hours))
