"""The breaker in front of a store that does not answer."""

from profiles.store.breaker import Breaker


def test_the_breaker_lets_one_request_through_at_a_time_until_one_succeeds() -> None:
    now = 100.0
    breaker = Breaker(lambda: now, failures=2, retry_seconds=1.0)
    for _ in range(2):
        assert breaker.allows()
        breaker.failed()
    assert not breaker.allows()
    now = 101.0
    assert breaker.allows() and not breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    assert breaker.failing_seconds() == 1.0
    now = 102.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows() and breaker.allows()
    assert breaker.failing_seconds() == 0.0
