"""A server that fails again and again gets no calls for a while, except one probe at a time."""

from telemetry.breaker import Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def closed(clock: Clock) -> Breaker:
    return Breaker(failures=3, pause_seconds=1.0, max_pause_seconds=4.0, clock=clock)


def opened(clock: Clock) -> Breaker:
    breaker = closed(clock)
    for _ in range(3):
        assert breaker.allow()
        breaker.failed()
    return breaker


def test_a_few_failures_do_not_open_it() -> None:
    breaker = closed(Clock())
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert not breaker.open and breaker.allow()


def test_an_open_breaker_refuses_calls_then_allows_one_probe() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 0.5
    assert breaker.open and not breaker.allow()
    clock.now = 1.0
    assert breaker.allow()
    assert not breaker.allow(), "one at a time"


def test_a_failed_probe_doubles_the_pause_up_to_a_bound() -> None:
    clock, pauses = Clock(), []
    breaker = opened(clock)
    for _ in range(5):
        began = clock.now
        while not breaker.allow():
            clock.now += 0.5
        pauses.append(clock.now - began)
        breaker.failed()
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_successful_probe_closes_the_breaker() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    assert breaker.allow()
    breaker.succeeded()
    assert not breaker.open and breaker.allow()


def test_a_cancelled_probe_allows_the_next_one() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    assert breaker.allow()
    breaker.abandoned()
    assert breaker.open and breaker.allow()


def test_a_probe_without_a_report_delays_the_next_one_by_the_longest_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    assert breaker.allow()
    clock.now = 4.9
    assert not breaker.allow()
    clock.now = 5.0
    assert breaker.allow()


def test_late_failures_of_earlier_calls_do_not_lengthen_the_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 0.1
    for _ in range(10):
        breaker.failed()
    clock.now = 1.0
    assert breaker.allow()


def test_with_one_pause_one_probe_runs_at_a_time_until_one_succeeds() -> None:
    clock = Clock()
    clock.now = 100.0
    breaker = Breaker(failures=2, pause_seconds=1.0, max_pause_seconds=1.0, clock=clock)
    for _ in range(2):
        assert breaker.allow()
        breaker.failed()
    assert not breaker.allow()
    clock.now = 101.0
    assert breaker.allow() and not breaker.allow()
    breaker.failed()
    assert not breaker.allow()
    assert breaker.failing_seconds == 1.0
    clock.now = 102.0
    assert breaker.allow()
    breaker.succeeded()
    assert breaker.allow() and breaker.allow()
    assert breaker.failing_seconds == 0.0
