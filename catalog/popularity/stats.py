"""How often an item was acted on, as arithmetic on `ItemStats`.

The newest 64 hours that had events are kept by hour. Events of older hours are summed by day, for the newest 256 such
days. Events before those days count only in `positives`. When a newer hour displaces the oldest one, the counts of the
oldest move to its day, and later events of that hour go to the day directly. The hours and days therefore depend only
on the set of events, not on their order or on how they were split.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from recstream.storage.v1 import catalog_pb2

MAX_HOURS: Final = 64
MAX_DAYS: Final = 256
HOUR_MS: Final = 3_600_000
HOURS_AHEAD: Final = 1.0
"""Hours further in the future than this weigh no more than an hour this far ahead."""
MAX_WINDOW_DAYS: Final = MAX_DAYS - 1
"""The longest window whose events are all in the hours and days that are kept. It touches one day more."""
DAY_HOURS: Final = 24
MIDDLE_OF_DAY: Final = 12
"""The hour of the day from which the age of a day's events is counted, and by which the day is in a window or not."""


def hour_of(time_ms: int) -> int:
    """The hour of a Unix time in milliseconds, counted from 1970."""
    return time_ms // HOUR_MS


def add(stats: catalog_pb2.ItemStats, by_hour: Mapping[int, int]) -> catalog_pb2.ItemStats:
    """Returns the statistics with further positive events added. `stats` is not changed.

    Args:
        stats: The statistics so far.
        by_hour: Number of events by hour since 1970. A negative number takes events back.
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
    """The sum of statistics that were counted separately."""
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
    """The statistics with the hours and days that are kept."""
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
    """The number of positive events, each weighted by 2^(-age / half-life).

    The age is counted from the start of the event's hour, or from the middle of its day. An hour that has not begun
    weighs more than 1, but no more than an hour that begins `HOURS_AHEAD` from now.
    """
    now_hours = now_ms / HOUR_MS
    half_life_hours = half_life_s / 3600
    by_hour = sum(bucket.count * weight(now_hours - bucket.hour, half_life_hours) for bucket in stats.hours)
    by_day = sum(
        count * weight(now_hours - (day * DAY_HOURS + MIDDLE_OF_DAY), half_life_hours)
        for day, count in zip(stats.days, stats.day_counts, strict=True)
    )
    return float(by_hour + by_day)


def counted(stats: catalog_pb2.ItemStats, first_hour: int) -> int:
    """The number of positive events from the start of an hour on.

    Events that are counted by day count from the day on whose middle hour is not before the first hour.
    """
    by_hour = sum(bucket.count for bucket in stats.hours if bucket.hour >= first_hour)
    by_day = sum(
        count
        for day, count in zip(stats.days, stats.day_counts, strict=True)
        if day * DAY_HOURS + MIDDLE_OF_DAY >= first_hour
    )
    return by_hour + by_day


def weight(age_hours: float, half_life_hours: float) -> float:
    """2^(-age / half-life). 0 if it is too small for a float."""
    return float(2.0 ** -(max(age_hours, -HOURS_AHEAD) / half_life_hours))
