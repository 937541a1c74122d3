"""Tokens of written records, and what a request waits for that names them in `after`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from profiles.folding.events import Position
from profiles.profile import Profile
from recstream.storage.v1 import token_pb2 as storage
from server.errors import InvalidToken, Violation
from server.tokens.positions import Watermarks, decode, encode, newest
from server.tokens.sealing import BadToken, Kind, Sealer
from server.writes.log_writer import LogWriter
from topics.names import Topics


@dataclass(frozen=True, slots=True)
class Awaited:
    """The writes that an answer must include.

    Attributes:
        events: Positions of events and erasures of the user.
        event_ids: Ids of events of the user.
        item_ends: The end offsets up to which the topic `item-changes` must be read, by partition.
    """

    events: tuple[Position, ...] = ()
    event_ids: frozenset[str] = frozenset()
    item_ends: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))

    def __bool__(self) -> bool:
        return bool(self.events or self.event_ids or self.item_ends)

    def in_profile(self, profile: Profile | None) -> bool:
        """Return whether a profile includes all of the events. None: the user has no profile, or it is unavailable."""
        if profile is None:
            return not self.events and not self.event_ids
        if not all(profile.includes(position) for position in self.events):
            return False
        missing = self.event_ids.difference(entry.event_id for entry in profile.history)
        return not missing.difference(impression.event_id for impression in profile.impressions)


class Awaiting(Protocol):
    """A request that may name writes which its answer must include."""

    @property
    def user_id(self) -> str: ...
    @property
    def after(self) -> Sequence[str]: ...
    @property
    def after_event_ids(self) -> Sequence[str]: ...


class WriteTokens:
    """Makes the tokens of written records, and finds out what a request's tokens stand for.

    Args:
        sealer: Makes and opens tokens.
        log: Knows the present ids of the topics.
        topics: Their names.
    """

    def __init__(self, sealer: Sealer, log: LogWriter, topics: Topics) -> None:
        self._sealer = sealer
        self._log = log
        self._topics = topics

    def of_events(self, user_id: str, positions: Iterable[Position]) -> str:
        """Return one token for all of these events or erasures of a user."""
        return self._seal(Kind.EVENTS, positions, user_id)

    def of_items(self, positions: Sequence[Position]) -> str:
        """Return one token for all of these records of items. Empty: there are none."""
        return self._seal(Kind.ITEMS, positions) if positions else ""

    async def awaited(self, request: Awaiting, until: float, path: str = "") -> Awaited:
        """Return the writes that a request names.

        Args:
            request: The request. The number of its tokens and ids was checked.
            until: When to stop waiting for Kafka, on `time.monotonic()`. It is only asked about a topic that this
                process does not know.
            path: A prefix for the names of fields.

        Raises:
            InvalidToken: A token is not valid for this user, or names a topic that was recreated since.
            NotAvailable: Kafka does not describe its topics.
        """
        opened: dict[Kind, dict[tuple[bytes, int], int]] = {Kind.EVENTS: {}, Kind.ITEMS: {}}
        violations: list[Violation] = []
        for at, token in enumerate(request.after):
            try:
                kind, watermarks = self._open(token, request.user_id)
                await self._check_topics(kind, watermarks, until)
            except BadToken as error:
                violations.append(Violation(f"{path}after[{at}]", str(error)))
                continue
            for where, offset in watermarks.items():
                opened[kind][where] = max(offset, opened[kind].get(where, -1))
        if violations:
            raise InvalidToken(violations)
        return Awaited(
            events=tuple(Position(*where, offset) for where, offset in opened[Kind.EVENTS].items()),
            event_ids=frozenset(request.after_event_ids),
            item_ends={partition: offset + 1 for (_, partition), offset in opened[Kind.ITEMS].items()},
        )

    def _seal(self, kind: Kind, positions: Iterable[Position], user_id: str = "") -> str:
        body = encode(newest(positions)).SerializeToString(deterministic=True)
        return self._sealer.seal(kind, body, user_id)

    def _open(self, token: str, user_id: str) -> tuple[Kind, Watermarks]:
        kind, body = self._sealer.open(token, (Kind.EVENTS, Kind.ITEMS), user_id)
        return kind, decode(storage.Positions.FromString(body))

    async def _check_topics(self, kind: Kind, watermarks: Watermarks, until: float) -> None:
        """Refuse positions in a topic that is gone, because nothing can ever include them."""
        name = self._topics.interactions if kind is Kind.EVENTS else self._topics.item_changes
        for topic_id in {topic_id for topic_id, _ in watermarks}:
            state = self._log.state(name)
            if state is None or state.topic_id != topic_id:
                state = (await self._log.states([name], until))[name]
            if state.topic_id != topic_id:
                raise BadToken(
                    "names a topic that was recreated since, so the write is gone: go on without it"
                )
