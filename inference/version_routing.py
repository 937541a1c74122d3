"""Which model version serves which user, and the share of users that the next version serves."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import structlog
from pydantic import ValidationError

from inference.bundle.bundle import Manifest
from profiles.profile import Profile
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from telemetry.faults import hold_back

log = structlog.get_logger()

_WHOLE: Final = 2**64


@dataclass(frozen=True, slots=True)
class Live:
    """A version that is served.

    Attributes:
        manifest: The manifest of its bundle.
        published_at_ms: Time of publication in Unix milliseconds. It distinguishes a version that was retired and
            published again from its earlier publication.
    """

    manifest: Manifest
    published_at_ms: int = 0

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def publishing(self) -> tuple[int, int]:
        """Version and time: the identity of this publication."""
        return self.version, self.published_at_ms


@dataclass(frozen=True)
class VersionRouting:
    """Which version serves which users. It is immutable. A list reads it once, so that all of it is of one version.

    Attributes:
        base: Serves the users outside the share. None: no model serves them.
        next: Serves the users in the share. None: there is no next version.
        share: Share of the users that `next` serves, from 0 to 1.
    """

    base: Live | None = None
    next: Live | None = None
    share: float = 0.0

    @classmethod
    def single(cls, manifest: Manifest | None) -> "VersionRouting":
        """A routing in which one version serves all users. None: there is no model."""
        return cls(None, Live(manifest), 1.0) if manifest is not None else cls()

    @cached_property
    def live(self) -> Mapping[int, Live]:
        """The live versions, by number."""
        return {each.version: each for each in (self.base, self.next) if each is not None}

    @property
    def default(self) -> Manifest | None:
        """The version that serves most users. It also serves requests without a user."""
        first = self.next if self.share >= 0.5 else self.base
        return first.manifest if first is not None else None

    @property
    def answering(self) -> tuple[Manifest, ...]:
        """The versions that serve at least one user."""
        next_one = self.next if self.share > 0 else None
        base = self.base if self.share < 1 else None
        return tuple(each.manifest for each in (base, next_one) if each is not None)

    def chosen(self, user_id: str) -> Manifest | None:
        """The version that the share selects for this user."""
        first = self.next if self.next is not None and self._in_share(user_id) else self.base
        return first.manifest if first is not None else None

    def answers(self, user_id: str, profile: Profile | None) -> Manifest | None:
        """The version that computes this user's list.

        It is the chosen version. If the profile has only a state of another live version, it is that one until the
        profile has been migrated.
        """
        chosen = self.chosen(user_id)
        if profile is None or chosen is None or profile.state(chosen.version) is not None:
            return chosen
        tags = [state.model_version for state in profile.states if state.model_version in self.live]
        return self.live[tags[-1]].manifest if tags else chosen

    def wanted(self, user_id: str) -> tuple[Manifest, ...]:
        """The versions whose states are kept up to date in this user's profile.

        They include the base while the next version serves the user, so that a rollback is immediate.
        """
        found = [self.base]
        if self.next is not None and self._in_share(user_id):
            found.append(self.next)
        return tuple(each.manifest for each in found if each is not None)

    def _in_share(self, user_id: str) -> bool:
        return self.next is not None and bucket(user_id, self.next.version) < self.share


def bucket(user_id: str, version: int) -> float:
    """The user's bucket in [0, 1). A user is in a share if the bucket is below it.

    The bucket is stable for a version and differs between versions, so that each canary gets different users.
    """
    digest = hashlib.blake2b(user_id.encode(), digest_size=8, salt=version.to_bytes(8, "big")).digest()
    # A float holds 53 of the 64 bits. With all of them, the largest values would round up to 1.
    return (int.from_bytes(digest, "big") >> 11) / (_WHOLE >> 11)


def routing_of(record: ServedVersions) -> VersionRouting:
    """The routing in a record of `model-versions`.

    Raises:
        ValueError: A manifest cannot be read.
    """
    base = _live(record.base) if record.HasField("base") else None
    next_one = _live(record.next) if record.HasField("next") else None
    return VersionRouting(base, next_one, record.share)


class Versions:
    """Holds the current routing. Call the object to get it."""

    def __init__(self) -> None:
        self._routing = VersionRouting()
        self._listeners: list[Callable[[VersionRouting], None]] = []

    def __call__(self) -> VersionRouting:
        return self._routing

    def listen(self, listener: Callable[[VersionRouting], None]) -> None:
        """Calls the listener now, and again with every new routing."""
        self._listeners.append(listener)
        listener(self._routing)

    def update(self, record: ServedVersions) -> None:
        """Replaces the routing by that of the record. If the record cannot be read, logs the error and keeps the
        routing."""
        try:
            routing = routing_of(record)
        except ValueError as error:
            log.error("model_versions_unreadable", cause=str(error)[:500])
            return
        self._routing = routing
        for listener in self._listeners:
            try:
                listener(routing)
            except Exception as error:  # the others must learn of the version all the same
                hold_back("version-listener", error)


def _live(record: ServedVersion) -> Live:
    try:
        manifest = Manifest.model_validate_json(record.manifest)
    except ValidationError as error:
        raise ValueError(f"the manifest of model version {record.version}: {error}") from error
    if manifest.version != record.version:
        raise ValueError(f"version {record.version} has the manifest of {manifest.version}")
    return Live(manifest, record.published_at_ms)
