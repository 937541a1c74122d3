"""A write of a profile, and the script's arguments for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import getrandbits
from typing import Final

from profiles.announcements.announcement import attachment_header, encode_announcement
from profiles.folding.events import Event, SlateImpression
from profiles.folding.tail import Tail
from profiles.profile import Profile
from profiles.store.codec import encode, encode_revision
from profiles.store.keys import Keys

_RANDOM_BITS: Final = 16


def next_revision(base: int) -> int:
    """The revision after `base`. Its upper bits count the writes, and the lower 16 are random.

    A revision that the store has lost is therefore not mistaken for the one that replaces it.
    """
    return ((base >> _RANDOM_BITS) + 1) << _RANDOM_BITS | getrandbits(_RANDOM_BITS)


@dataclass(frozen=True, slots=True)
class Write:
    """A write of a profile over the revision that was read.

    Attributes:
        user_id: The user.
        base_revision: The revision that was read. 0 if there was no profile.
        profile: The new profile.
        tail: The new tail. None: the tail is not changed.
        delete_tail: Whether the tail is deleted.
        quiet: For the announcement, as in `Folded`.
        applied: For the announcement, as in `Folded`.
        traceparent: W3C's `traceparent` for the announcement. Empty if nothing is traced.
        revision: The new revision.
        value: The new stored value.
    """

    user_id: str
    base_revision: int
    profile: Profile
    tail: Tail | None = None
    delete_tail: bool = False
    quiet: bool = False
    applied: Sequence[Event | SlateImpression] = ()
    traceparent: str = ""
    revision: int = field(init=False)
    value: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        revision = next_revision(self.base_revision)
        object.__setattr__(self, "revision", revision)
        object.__setattr__(self, "value", encode_revision(revision) + encode(self.profile))


def script_arguments(write: Write, keys: Keys) -> list[str | bytes]:
    """The keys and arguments of `profiles.store.script`."""
    user_id, profile = write.user_id, write.profile
    tail, tail_value = "keep", b""
    if write.tail:
        tail, tail_value = "set", write.tail.value
    elif write.delete_tail or write.tail is not None:
        tail = "delete"
    return [
        keys.profile(user_id),
        keys.tail(user_id),
        encode_revision(write.base_revision) if write.base_revision else b"",
        write.value,
        str(max(1, profile.expires_at_ms)),
        tail,
        tail_value,
        keys.channel(user_id),
        encode_announcement(
            write.base_revision,
            write.revision,
            quiet=write.quiet,
            applied=write.applied,
            traceparent=write.traceparent,
        ),
        attachment_header(write.value),
    ]
