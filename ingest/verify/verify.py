"""Verifies the store against the log: folds the topic in memory and compares every profile."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from inference.model import ModelUnavailable
from ingest.consuming.topic_check import topic_id_of
from ingest.profiles.states import ModelStates
from ingest.verify.compare import differences
from ingest.verify.log_fold import LogFold, fold_log
from profiles.actions import ProfileSettings
from profiles.mappings import EventMapping
from profiles.profile import Profile, Stored
from profiles.store.store import ProfileStore
from topics.settings import KafkaSettings

STATE_TOLERANCE = 1e-3
"""Largest allowed difference between an element of a stored state and the same element of its refold."""

_BATCH = 256
_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a user's profile and the log."""

    user_id: str
    what: str


@dataclass(slots=True)
class Report:
    """What was compared, and the differences.

    Attributes:
        users: Users that were compared.
        records: Records of the log.
        refused: Records that cannot be used.
        whole: Whether the log still has its first records. Otherwise the comparison is partial.
        ends: The end offsets of the comparison, by partition.
        differences: The first differences.
        difference_count: How many differences there are.
        states_compared: Model states that were compared with a refold.
        states_stale: Model states that are marked stale.
        states_unchecked: Model states for which the model did not answer.
        earlier_topic: Users with events of an earlier topic. They are not compared.
    """

    users: int = 0
    records: int = 0
    refused: int = 0
    whole: bool = True
    ends: Mapping[int, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    difference_count: int = 0
    states_compared: int = 0
    states_stale: int = 0
    states_unchecked: int = 0
    earlier_topic: int = 0

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.difference_count == 0


async def verify(
    kafka: KafkaSettings,
    store: ProfileStore,
    profile_settings: ProfileSettings,
    states: ModelStates | None,
    *,
    until: Mapping[int, int] | None = None,
    wait: float = 0.0,
    max_differences: int = 20,
    mappings: Sequence[EventMapping] = (),
) -> Report:
    """Compares every profile: history, totals and watermarks to the byte, states within `STATE_TOLERANCE`.

    Use it while no events come, or with `until`.

    Args:
        kafka: The cluster.
        store: The profiles.
        profile_settings: The settings of profiles.
        states: Refolds model states. None: states are not compared.
        until: The end offsets that the store has applied, by partition, exclusive. None: the current ends.
        wait: Seconds for which it compares again while profiles differ, since ingest may still be running.
        max_differences: Most differences that the report lists.
        mappings: The mappings of other producers' records.

    Raises:
        TopicsMissing: The interactions topic does not exist.
        StoreUnavailable, KafkaError, KafkaUnreachable, TimeoutError: A server fails.
    """
    topic_id = await topic_id_of(kafka, kafka.topics.interactions)
    log = await fold_log(kafka, profile_settings, topic_id, until, mappings)
    check = _Check(store, states, log, max_differences)
    deadline = time.monotonic() + wait
    differing = await check.all()
    while differing and time.monotonic() < deadline:
        await asyncio.sleep(_AGAIN_SECONDS)
        differing = await check.all()
    return check.report


class _Check:
    def __init__(
        self, store: ProfileStore, states: ModelStates | None, log: LogFold, max_differences: int
    ) -> None:
        self._store = store
        self._states = states
        self._log = log
        self._max_differences = max_differences
        self.report = Report()

    async def all(self) -> int:
        """Compares all users. Returns the number of differences."""
        log = self._log
        self.report = Report(records=log.records, refused=log.refused, whole=log.whole, ends=log.ends)
        async for users in self._everyone():
            await self._compare(users)
        return self.report.difference_count

    async def _everyone(self) -> AsyncIterator[Sequence[str]]:
        """Yields the users of the log, then those that only the store has, in batches."""
        batch: list[str] = []
        for user_id in self._log.profiles:
            batch.append(user_id)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        seen: set[str] = set()
        async for user_id in self._store.scan():
            if user_id not in self._log.profiles and user_id not in seen:
                seen.add(user_id)
                batch.append(user_id)
            if len(batch) >= _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _compare(self, users: Sequence[str]) -> None:
        stored = await self._store.read(users)
        with_tail = [s.profile.user_id for s in stored if s is not None and s.profile.has_tail]
        tails = dict(
            zip(with_tail, await self._store.read_tails(with_tail) if with_tail else [], strict=True)
        )
        now_ms = int(time.time() * 1000)
        same: list[Profile] = []
        for user_id, found in zip(users, stored, strict=True):
            if found is None:
                expected = self._log.profiles.get(user_id)
                if expected is not None and expected.expires_at_ms > now_ms:
                    self.report.users += 1
                    self._differs(user_id, "the store has no profile")
                continue
            self.report.users += 1
            if self._is_earlier(found):
                self.report.earlier_topic += 1
                continue
            what = differences(found.profile, tails.get(user_id), self._log)
            for line in what:
                self._differs(user_id, line)
            if not what:
                same.append(found.profile)
        await self._compare_states(same)

    def _is_earlier(self, stored: Stored) -> bool:
        return any(topic_id != self._log.topic_id for topic_id, _ in stored.profile.watermarks)

    async def _compare_states(self, profiles: Sequence[Profile]) -> None:
        if self._states is None:
            return
        fresh = []
        for profile in profiles:
            if self._states.is_stale(profile):
                self.report.states_stale += 1
            elif profile.states:
                fresh.append(profile)
        if not fresh:
            return
        try:
            refolded = await self._states.refold(fresh, timeout=30.0, all_states=True)
        except ModelUnavailable:
            self.report.states_unchecked += len(fresh)
            return
        for profile, again in zip(fresh, refolded, strict=True):
            for state in profile.states:
                other = again.state(state.model_version)
                # `refold` returns the state of a version that is not live unchanged.
                if other is None or other is state or other.stale or state.stale:
                    continue
                self.report.states_compared += 1
                far = max(_far(state.state, other.state), _far(state.user_vector, other.user_vector))
                if not far <= STATE_TOLERANCE:
                    self._differs(
                        profile.user_id, f"model state {state.model_version}: {far:.3g} off its refold"
                    )

    def _differs(self, user_id: str, what: str) -> None:
        self.report.difference_count += 1
        if len(self.report.differences) < self._max_differences:
            self.report.differences.append(Difference(user_id, what))


def _far(one: bytes, other: bytes) -> float:
    if len(one) != len(other):
        return float("inf")
    return float(np.abs(np.frombuffer(one, "<f4") - np.frombuffer(other, "<f4")).max(initial=0.0))
