"""The arithmetic behind the figures of the demo."""

import numpy as np

from cli.demo.hit_rates import HitRates
from cli.demo.latencies import Latencies, Sent
from readers.interactions.interactions import Interactions
from recstream.v1 import frame_pb2


def training(pairs: list[tuple[str, str]]) -> Interactions:
    n = len(pairs)
    return Interactions.of(
        [u for u, _ in pairs], [i for _, i in pairs], ["rate"] * n,
        np.arange(n, dtype=np.int64), np.full(n, 5.0), [str(k) for k in range(n)],
    )  # fmt: skip


def test_popularity_leaves_out_taken_items_like_the_lists() -> None:
    items = [f"i{n:02}" for n in range(12)]
    crowd = [(f"u{n}", item) for place, item in enumerate(items) for n in range(20 - place)]
    rates = HitRates.after(training([*crowd, ("ann", "i00"), ("ann", "i01")]), items)
    rates.judge("ann", "i11", [])  # i02 to i11 are left. The last of them is on the list of ten.
    rates.judge("bob", "i11", ["i11"])  # A new user, for whom i00 to i09 are popular.
    assert (rates.everyone.queries, rates.everyone.hits, rates.everyone.popularity_hits) == (2, 1, 1)
    assert (rates.warm.queries, rates.warm.hits, rates.warm.popularity_hits) == (1, 0, 1)


def test_popularity_learns_from_the_replay() -> None:
    items = [f"i{n:02}" for n in range(30)]
    rates = HitRates.after(training([("ann", item) for item in items[:11]]), items)
    rates.judge("bob", "i29", [])
    for user in ("cid", "dan", "eve"):
        rates.observe(user, "i29")
    rates.judge("bob", "i29", [])
    assert rates.everyone.popularity_hits == 1


def cause(event_id: str) -> frame_pb2.Cause:
    return frame_pb2.Cause(event_id=event_id)


def test_latency_is_measured_to_the_first_frame_that_names_the_event() -> None:
    latencies = Latencies()
    latencies.sent["ann"] = [
        Sent("a", 1.0),
        Sent("b", 1.1),
        Sent("c", 1.2),
        Sent("d", 9.0),
    ]
    latencies.frame("ann", 0.5, [])
    latencies.frame("ann", 1.010, [cause("a")])
    latencies.frame("ann", 1.130, [cause("b")])
    latencies.frame("ann", 1.240, [cause("c"), cause("b")])
    assert sorted(round(ms) for ms in latencies.milliseconds()) == [10, 30, 40]
    summary = latencies.summary()
    assert summary["events_without_frame"] == 0.25 and summary["frames_sent"] == 4
