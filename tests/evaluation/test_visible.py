"""Which events of a split a running product would have seen."""

import numpy as np
import pytest

from evaluation.protocols.domains import only
from evaluation.protocols.held_out import PROTOCOLS, Protocol
from evaluation.protocols.split import Split, split
from evaluation.protocols.visible import visible_events
from tests.evaluation.world import crowd, known


@pytest.fixture(params=PROTOCOLS)
def test_split(request: pytest.FixtureRequest) -> Split:
    protocol: Protocol = request.param
    return split(known(crowd()), protocol)


def test_targets_are_visible_in_next_item_only(test_split: Split) -> None:
    found = visible_events(test_split)
    assert found[test_split.training].all()
    for rows in test_split.queries.before:
        assert found[rows].all()
    targets = test_split.queries.visible[0] if test_split.name == "future" else None
    if test_split.name == "next-item":
        assert found.all()
    elif test_split.name == "future":
        assert not found[targets:].any() and found[:targets].all()
    else:
        pairs = {
            (user, item)
            for user, items in zip(test_split.queries.users.tolist(), test_split.relevant, strict=True)
            for item in items.tolist()
        }
        rows = np.flatnonzero(found)
        events = test_split.known
        assert not pairs & set(zip(events.users[rows].tolist(), events.items[rows].tolist(), strict=True))


def test_users_without_a_query_are_visible_by_training_events_only() -> None:
    one = only(split(known(crowd()), "leave-one-out"), np.array([0]))
    others = one.known.users != one.queries.users[0]
    np.testing.assert_array_equal(visible_events(one)[others], one.training[others])
