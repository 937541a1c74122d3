"""A server that fails again and again is left alone for a while, and tried by one call at a time."""

from inference.breaker import Breaker


def opened() -> Breaker:
    breaker = Breaker(failures=3, open_seconds=1.0, open_max_seconds=4.0)
    for _ in range(3):
        assert breaker.allow(0.0)
        breaker.failed(0.0)
    return breaker


def test_a_few_failures_do_not_open_it() -> None:
    breaker = Breaker(failures=3, open_seconds=1.0, open_max_seconds=4.0)
    for _ in range(5):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.succeeded()
    assert not breaker.open and breaker.allow(0.0)


def test_open_it_refuses_then_lets_one_try() -> None:
    breaker = opened()
    assert breaker.open and not breaker.allow(0.5)
    assert breaker.allow(1.0)
    assert not breaker.allow(1.0), "one at a time"


def test_a_try_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(5):
        wait = 0.0
        while not breaker.allow(now + wait):
            wait += 0.5
        pauses.append(wait)
        now += wait
        breaker.failed(now)
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_try_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert breaker.allow(1.0)
    breaker.succeeded()
    assert not breaker.open and breaker.allow(1.0)


def test_a_try_that_is_cancelled_lets_the_next_one_try() -> None:
    breaker = opened()
    assert breaker.allow(1.0)
    breaker.abandoned()
    assert breaker.open and breaker.allow(1.0)


def test_late_failures_of_calls_made_before_do_not_lengthen_the_pause() -> None:
    breaker = opened()
    for _ in range(10):
        breaker.failed(0.1)
    assert breaker.allow(1.0)
