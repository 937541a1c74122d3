"""Counts how many profiles have moved to their target version, which is the model version that routing chooses."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from inference.version_routing import VersionRouting
from profiles.profile import Stored
from profiles.store.store import ProfileStore

_BATCH = 500


@dataclass(slots=True)
class MigrationProgress:
    """Counts of profiles that have a history.

    Attributes:
        profiles: All of them.
        remaining: Profiles without a model state of their target version.
        answered_by: Profiles by the version that answers them now. 0 counts those that no version answers.
    """

    profiles: int = 0
    remaining: int = 0
    answered_by: Counter[int] = field(default_factory=Counter)


async def migration_progress(store: ProfileStore, routing: VersionRouting) -> MigrationProgress:
    """Reads and counts all profiles of the store. Raises StoreUnavailable."""
    found = MigrationProgress()
    batch: list[str] = []
    async for user_id in store.scan():
        batch.append(user_id)
        if len(batch) == _BATCH:
            _count(await store.read(batch), routing, found)
            batch = []
    if batch:
        _count(await store.read(batch), routing, found)
    return found


def _count(profiles: Sequence[Stored | None], routing: VersionRouting, found: MigrationProgress) -> None:
    for stored in profiles:
        if stored is None or not stored.profile.history:
            continue
        profile = stored.profile
        found.profiles += 1
        chosen = routing.chosen(profile.user_id)
        found.remaining += chosen is not None and profile.state(chosen.version) is None
        answers = routing.answers(profile.user_id, profile)
        found.answered_by[answers.version if answers is not None else 0] += 1
