"""The transitions of the record of served versions. Harmful ones are refused."""

import pytest

from inference.bundle.bundle import Manifest
from recstream.storage.v1.model_pb2 import ServedVersions
from rollout.errors import TransitionRefused
from rollout.transitions import published, retired, retiring, rolled_back, with_share


def manifest(version: int) -> Manifest:
    return Manifest(
        version=version, width=4, state_width=4, actions=("click",), history=8, refold_every=4, text_tokens=8,
        popularity_half_lives_days=(7,), files={},
    )  # fmt: skip


def publish(record: ServedVersions, version: int, *, raw: bytes = b"", force: bool = False) -> ServedVersions:
    return published(record, manifest(version), raw or b"%d" % version, 1000 + version, force=force)


def state(record: ServedVersions) -> tuple[int, int, float]:
    return record.base.version, record.next.version, record.share


ONE = with_share(publish(ServedVersions(), 1), 1, {0: 10})
TRIED = with_share(publish(ONE, 2), 0.1, {0: 20})
TWO = with_share(TRIED, 1, {0: 20})


def test_the_first_version_answers_no_users_or_all_of_them() -> None:
    assert state(publish(ServedVersions(), 1)) == (0, 1, 0)
    assert state(with_share(publish(ServedVersions(), 1), 0.1, {})) == (0, 1, 1), (
        "no other version could answer the other users"
    )


def test_a_second_version_answers_no_users_until_it_gets_a_share() -> None:
    assert state(publish(ONE, 2)) == (1, 2, 0)
    assert state(TRIED) == (1, 2, pytest.approx(0.1))
    assert dict(TWO.vector_ends) == {0: 20}


def test_repeating_a_step_changes_nothing() -> None:
    for record in (publish(ONE, 2), TRIED, TWO):
        assert publish(record, 2) == record
    assert publish(rolled_back(TWO), 1) == rolled_back(TWO)


def test_rolling_back_and_forth_keeps_both_versions() -> None:
    assert state(rolled_back(TWO)) == (1, 2, 0)
    assert state(with_share(rolled_back(TWO), 1, {})) == (1, 2, 1)
    assert dict(with_share(TWO, 1, {0: 5}).vector_ends) == {0: 20}, "ends never go back"


def test_without_an_older_version_there_is_no_rollback() -> None:
    for record in (ServedVersions(), ONE):
        with pytest.raises(TransitionRefused, match="no older version"):
            rolled_back(record)


def test_a_third_version_retires_the_one_that_answers_no_users() -> None:
    assert (retiring(TWO), state(publish(TWO, 3))) == (1, (2, 3, 0))
    assert (retiring(rolled_back(TWO)), state(publish(rolled_back(TWO), 3))) == (2, (1, 3, 0))
    assert retiring(ONE) == 0


def test_a_third_version_is_refused_while_the_second_is_a_canary_unless_forced() -> None:
    with pytest.raises(TransitionRefused, match="is a canary"):
        publish(TRIED, 3)
    assert state(publish(TRIED, 3, force=True)) == (1, 3, 0)


def test_the_older_version_returns_only_by_rollback() -> None:
    with pytest.raises(TransitionRefused) as refused:
        publish(TWO, 1)
    assert "rollback" in refused.value.next_step


def test_a_version_number_has_one_content() -> None:
    with pytest.raises(TransitionRefused, match="other content"):
        publish(TWO, 2, raw=b"other")


def test_a_retired_version_that_returns_is_published_again() -> None:
    again = published(publish(TWO, 3), manifest(1), b"1", 9999, force=True)
    assert again.next.published_at_ms == 9999


def test_retiring_leaves_the_version_that_answers() -> None:
    assert state(retired(TWO)) == (0, 2, 1)
    assert state(retired(rolled_back(TWO))) == (0, 1, 1)
    assert retired(ONE) == ONE
    with pytest.raises(TransitionRefused, match="both"):
        retired(TRIED)


def test_no_share_without_a_version() -> None:
    with pytest.raises(TransitionRefused, match="no version is published"):
        with_share(ServedVersions(), 1, {})
