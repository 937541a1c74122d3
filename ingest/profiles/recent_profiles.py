"""The profiles that this process wrote last, so that a user's next event need not read them."""

from collections import OrderedDict

from profiles.profile import Stored
from profiles.store.codec import decode


class RecentProfiles:
    """At most `room` profiles by user id, as they were written, revision and all; those unused longest go first.

    What is taken is gone from here until it is kept again: a write that is refused, fails, or is cancelled half way
    leaves nothing behind that may be wrong. The fence on the write finds out about anything else.

    They are kept in the store's own form. As objects they would take five times the memory, and every full
    collection of garbage would look through all of them: seconds, where a user's decoding takes less than the hop.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, user_id: str) -> Stored | None:
        """The profile as it was written last, or None. It is not kept any more."""
        value = self._kept.pop(user_id, None)
        return None if value is None else decode(value)

    def keep(self, user_id: str, value: bytes) -> None:
        """The value was written just so, and the store has said so."""
        self._kept.pop(user_id, None)
        self._kept[user_id] = value
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
