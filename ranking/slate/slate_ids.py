"""Ids of slates."""

import os
import time
from collections.abc import Callable
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS: Final = 80
_LENGTH: Final = 26


class SlateIds:
    """Generates ULIDs (github.com/ulid/spec): 26 characters that sort by time of creation in milliseconds. Within one
    process they sort by order of creation. Not safe for use from several threads."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock = clock
        self._random = random
        self._last = 0

    def next(self) -> str:
        """A new id, greater than every earlier one."""
        fresh = int(self._clock() * 1000) << _RANDOM_BITS | int.from_bytes(self._random(10))
        # In the same millisecond, or after the clock went back, counting up keeps the order.
        if fresh >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:
            fresh = self._last + 1
        self._last = fresh
        return "".join(_ALPHABET[fresh >> 5 * digit & 31] for digit in range(_LENGTH - 1, -1, -1))
