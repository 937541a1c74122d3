"""Who has moved to which model version: a look at every profile."""

from collections import Counter
from dataclasses import dataclass, field

from inference.version_routing import Pointer
from profiles.profile import Stored
from profiles.store.store import ProfileStore

_BATCH = 500


@dataclass(slots=True)
class Movement:
    """Profiles with a history, by where they stand.

    left: those without a state of the version that they are to be answered by. answered: by version, whom each answers
    now; 0: none does.
    """

    profiles: int = 0
    left: int = 0
    answered: Counter[int] = field(default_factory=Counter)


async def movement(store: ProfileStore, pointer: Pointer) -> Movement:
    """Counts all. Raises StoreUnavailable."""
    found = Movement()
    batch: list[str] = []
    async for user_id in store.scan():
        batch.append(user_id)
        if len(batch) == _BATCH:
            _count(await store.read(batch), pointer, found)
            batch = []
    if batch:
        _count(await store.read(batch), pointer, found)
    return found


def _count(read: list[Stored | None], pointer: Pointer, found: Movement) -> None:
    for stored in read:
        if stored is None or not stored.profile.history:
            continue
        profile = stored.profile
        found.profiles += 1
        chosen = pointer.chosen(profile.user_id)
        found.left += chosen is not None and profile.state(chosen.version) is None
        answers = pointer.answers(profile.user_id, profile)
        found.answered[answers.version if answers is not None else 0] += 1
