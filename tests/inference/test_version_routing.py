"""Which version serves which user: the choice is stable, proportional to the share, and grows with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.bundle.bundle import Manifest
from inference.version_routing import Live, VersionRouting, Versions, bucket, routing_of
from profiles.profile import ModelState, Profile
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from telemetry.faults import FAULTS

versions = st.integers(1, 2**62 - 1)
shares = st.floats(0, 1)


def manifest(version: int) -> Manifest:
    return Manifest(
        version=version, width=4, state_width=4, actions=("click",), history=8, refold_every=4, text_tokens=8,
        popularity_half_lives_days=(7,), files={},
    )  # fmt: skip


def routing(share: float, base: int | None = 1, next_one: int = 2) -> VersionRouting:
    return VersionRouting(Live(manifest(base)) if base else None, Live(manifest(next_one)), share)


def version(found: Manifest | None) -> int:
    return found.version if found is not None else 0


def profile(*states: int) -> Profile:
    return Profile("ann", states=tuple(ModelState(each, b"", b"") for each in states))


@given(st.text(min_size=1), versions)
def test_a_bucket_is_stable_and_below_one(user_id: str, of: int) -> None:
    assert bucket(user_id, of) == bucket(user_id, of)
    assert 0 <= bucket(user_id, of) < 1


@given(st.text(min_size=1), shares, shares)
def test_a_growing_share_moves_no_user_back(user_id: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    if version(routing(less).chosen(user_id)) == 2:
        assert version(routing(more).chosen(user_id)) == 2
    assert version(routing(0).chosen(user_id)) == 1
    assert version(routing(1).chosen(user_id)) == 2


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_of_users_is_the_configured_one(share: float) -> None:
    chosen = [version(routing(share).chosen(f"user-{number}")) for number in range(20_000)]
    # Four standard deviations of 20,000 draws.
    assert abs(chosen.count(2) / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


def test_another_version_gets_other_users() -> None:
    users = [f"user-{number}" for number in range(1_000)]
    first = {user for user in users if bucket(user, 2) < 0.1}
    assert first != {user for user in users if bucket(user, 3) < 0.1}


def test_a_profile_is_served_by_the_version_that_it_has_a_state_of() -> None:
    flipped = routing(1)
    assert version(flipped.answers("ann", None)) == 2
    assert version(flipped.answers("ann", profile(1))) == 1
    assert version(flipped.answers("ann", profile(1, 2))) == 2
    assert version(routing(0).answers("ann", profile(1, 2))) == 1, (
        "a rollback is immediate, because the state is still there"
    )


def test_a_state_of_an_unknown_version_is_ignored() -> None:
    assert version(routing(1).answers("ann", profile(77))) == 2
    assert version(routing(1).answers("ann", profile())) == 2


def test_states_of_both_versions_are_kept_for_users_that_may_be_rolled_back() -> None:
    assert [each.version for each in routing(1).wanted("ann")] == [1, 2]
    assert [each.version for each in routing(0).wanted("ann")] == [1]
    assert [each.version for each in routing(1, base=None).wanted("ann")] == [2]
    assert VersionRouting().wanted("ann") == ()


def test_no_model_serves_anyone_before_the_first_version_has_users() -> None:
    assert routing(0, base=None).chosen("ann") is None
    assert routing(0, base=None).default is None
    assert routing(0, base=None).answering == ()


def test_requests_without_a_user_get_the_version_that_serves_most_users() -> None:
    assert version(routing(0.1).default) == 1
    assert version(routing(1).default) == 2


def test_an_unreadable_record_changes_nothing() -> None:
    held = Versions()
    raw = manifest(5).model_dump_json().encode()
    held.update(ServedVersions(next=ServedVersion(version=5, manifest=raw, published_at_ms=3), share=1))
    heard: list[int] = []
    held.listen(lambda now: heard.append(version(now.default)))
    held.update(ServedVersions(next=ServedVersion(version=6, manifest=b"{}"), share=1))
    held.update(ServedVersions(next=ServedVersion(version=6, manifest=raw), share=1))
    assert version(held().default) == 5
    assert heard == [5]


def test_an_empty_record_is_an_empty_routing() -> None:
    assert routing_of(ServedVersions()) == VersionRouting()


def test_a_listener_at_fault_keeps_no_other_from_hearing_of_a_version() -> None:
    """gRPC 43403: the first callback that raised kept all later watchers at the former status."""
    versions, heard = Versions(), list[int]()

    def broken(now: VersionRouting) -> None:
        if now.next is not None:
            raise ZeroDivisionError

    versions.listen(broken)
    versions.listen(lambda now: heard.append(now.next.version if now.next is not None else 0))
    before = FAULTS.labels("version-listener")._value.get()
    raw = manifest(2).model_dump_json().encode()
    versions.update(ServedVersions(next=ServedVersion(version=2, manifest=raw), share=1))
    assert heard == [0, 2] and FAULTS.labels("version-listener")._value.get() == before + 1
