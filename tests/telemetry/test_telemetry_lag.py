"""The lag of ingest, in records and in seconds."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from ingest import metrics
from ingest.consuming.lag import Lag


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()
    metrics.LAG.clear()
    metrics.LAG_SECONDS.clear()


def shown(partition: int = 0) -> tuple[float | None, float | None]:
    labels = {"partition": str(partition)}
    return (
        REGISTRY.get_sample_value("recstream_ingest_lag_records", labels),
        REGISTRY.get_sample_value("recstream_ingest_lag_seconds", labels),
    )


def test_the_lag_of_a_stuck_batch_grows(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start({0: 10})
    lag.begin(0, 10, 999_000)
    for seconds in (1.0, 31.0):
        clock.now = 1000.0 + seconds
        lag.passed(0, 15)  # The consumer has read on, and the records are being handled.
        lag.measure({0: 20})
        assert shown() == (10, seconds + 1)


def test_applied_records_are_no_lag_and_a_rare_event_has_a_short_one(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start({0: 10})
    lag.begin(0, 10, 999_500)
    lag.applied(0, 12, 999_900)
    lag.measure({0: 12})
    assert shown() == (0, 0)
    clock.now += 3600
    lag.measure({0: 12})
    clock.now += 0.5
    lag.measure({0: 13})  # A record came since the last check, and is not read yet.
    assert shown() == (1, 0.5)


def test_a_backlog_is_as_old_as_its_oldest_record(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start({0: 0})
    lag.begin(0, 0, 400_000)
    lag.applied(0, 500, 500_000)
    lag.measure({0: 900})
    assert shown() == (400, 500)


def test_transaction_markers_do_not_count_as_records(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start({0: 5})
    lag.passed(0, 6)
    lag.measure({0: 6})
    assert shown() == (0, 0)


def test_a_revoked_partition_leaves_no_series(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start({0: 0, 1: 0})
    lag.measure({0: 3, 1: 4})
    lag.start({1: 2})
    lag.measure({0: 3, 1: 4})
    assert shown(0) == (None, None) and shown(1)[0] == 2
    lag.close()
    assert shown(1) == (None, None)
