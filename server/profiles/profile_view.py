"""Converts stored profiles to messages of the API."""

from collections.abc import Iterator, Sequence

from profiles.actions import ProfileSettings
from profiles.folding.history import recent, undone
from profiles.folding.tail import Tail
from profiles.profile import Entry, Impression
from profiles.times import timestamp
from recstream.v1 import profile_pb2, profile_service_pb2
from server.profiles.profile_reader import ProfileSnapshot

# An item takes at most 21 bytes on the wire, so a message stays well below 1 MiB.
_CONSUMED_A_PART = 20_000


def view(
    user_id: str, snapshot: ProfileSnapshot, settings: ProfileSettings, now_ms: int
) -> profile_pb2.Profile:
    """Return a profile as a message of the API.

    Args:
        user_id: The user.
        snapshot: The stored profile, if there is one.
        settings: The half-life of recent actions.
        now_ms: The moment from which their ages are counted, Unix milliseconds.

    Returns:
        The profile. If the user has none, only the user id is set.
    """
    if snapshot.stored is None:
        return profile_pb2.Profile(user_id=user_id)
    profile = snapshot.stored.profile
    gone = undone(profile.history)
    newest = max(profile.states, key=lambda state: state.model_version, default=None)
    return profile_pb2.Profile(
        user_id=profile.user_id,
        revision=snapshot.stored.revision,
        history=_entries(profile.history, gone),
        totals=dict(profile.totals),
        recent=recent(profile, now_ms, settings.half_life_days),
        impressions=_impressions(profile.impressions),
        expires_at=timestamp(profile.expires_at_ms),
        model_version=newest.model_version if newest else 0,
        model_state_stale=newest.stale if newest else False,
    )


def consumed(tail: Tail | None) -> Iterator[profile_service_pb2.TakenItems]:
    """Yield messages with the items of the tail, newest first. Without a tail, yield none."""
    records = tail.records() if tail else []
    for at in range(0, len(records), _CONSUMED_A_PART):
        part = records[at : at + _CONSUMED_A_PART]
        yield profile_service_pb2.TakenItems(
            items=[
                profile_service_pb2.TakenItem(taken_at=timestamp(second * 1000), item_hash=item)
                for second, item in part
            ]
        )


def _entries(entries: Sequence[Entry], gone: frozenset[str]) -> list[profile_pb2.HistoryEntry]:
    return [
        profile_pb2.HistoryEntry(
            event_id=entry.event_id,
            item_id=entry.item_id,
            action=entry.action,
            event_time=timestamp(entry.time_ms),
            value=entry.value,
            undone=entry.event_id in gone,
            undo_event_id=entry.undo_event_id,
        )
        for entry in entries
    ]


def _impressions(impressions: Sequence[Impression]) -> list[profile_pb2.ImpressionEntry]:
    return [
        profile_pb2.ImpressionEntry(
            event_id=impression.event_id,
            item_ids=impression.item_ids,
            event_time=timestamp(impression.time_ms),
        )
        for impression in impressions
    ]
