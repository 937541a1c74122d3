"""A cache of the profiles that this process wrote last, so that a user's next event need not read them."""

from cachetools import LRUCache

from profiles.profile import Stored
from profiles.store.codec import decode


class RecentProfiles:
    """Profiles by user id, as they were written, revision and all. The least recently written one leaves first.

    A profile that is taken is gone from the cache until it is kept again: a write that is refused, fails, or is
    cancelled half way leaves nothing behind that may be wrong. The fence on the write finds out about anything else.

    Values stay in the stored form. As objects they would take five times the memory, and every full collection of
    garbage would look through all of them: seconds, while decoding one user's profile takes less than the hop.

    Args:
        size: Most profiles; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._values: LRUCache[str, bytes] = LRUCache(size)

    def __len__(self) -> int:
        return len(self._values)

    def take(self, user_id: str) -> Stored | None:
        """Removes the profile and returns it as it was written last; None if it is not in the cache."""
        value = self._values.pop(user_id, None)
        return None if value is None else decode(value)

    def keep(self, user_id: str, value: bytes) -> None:
        """Adds a profile's stored form, once the store has acknowledged it."""
        if self._values.maxsize:
            self._values[user_id] = value

    def clear(self) -> None:
        """Empties the cache."""
        self._values.clear()
