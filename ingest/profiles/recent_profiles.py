"""A cache of the profiles that this process wrote last. A user's next event does not have to read the profile."""

from cachetools import LRUCache

from profiles.profile import Stored
from profiles.store.codec import decode


class RecentProfiles:
    """Profiles by user id, as they were written, with their revisions. The least recently written one is evicted first.

    A profile that is taken leaves the cache until it is kept again. So a write that is refused, fails or is cancelled
    leaves no wrong profile behind. The fence on the write catches every other case.

    Values stay in the stored form. As objects they would take five times the memory, and every full garbage collection
    would take seconds to traverse them. Decoding one user's profile takes less than a hop to the store.

    Args:
        size: Most profiles; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._values: LRUCache[str, bytes] = LRUCache(size)

    def __len__(self) -> int:
        return len(self._values)

    def take(self, user_id: str) -> Stored | None:
        """Removes the profile and returns it. None if it is not in the cache."""
        value = self._values.pop(user_id, None)
        return None if value is None else decode(value)

    def keep(self, user_id: str, value: bytes) -> None:
        """Adds a profile's stored form. Call it once the store has acknowledged the write."""
        if self._values.maxsize:
            self._values[user_id] = value

    def clear(self) -> None:
        """Empties the cache."""
        self._values.clear()
