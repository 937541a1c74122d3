"""What can go wrong in ingest, in one tree."""

from collections.abc import Sequence


class IngestError(Exception):
    """Base of this room's errors."""


class BatchAbandoned(IngestError):
    """A batch is left to the next owner of its partitions: the worker stops, or the partitions move."""


class BatchFailed(IngestError):
    """A batch could not be applied now; it is kept and tried again. `cause` is one of metrics.RETRY_CAUSES."""

    cause = "error"


class StoreDown(BatchFailed):
    """The profile store did not answer."""

    cause = "store"


class WritesRefused(BatchFailed):
    """Profiles kept changing between the read and the write."""

    cause = "contention"

    def __init__(self, users: int, attempts: int) -> None:
        super().__init__(f"{users} profiles changed under the fold {attempts} times in a row")


class DeadLetterNotWritten(BatchFailed):
    """Kafka did not take a dead letter, so the record is not passed."""

    cause = "dead_letter"

    def __init__(self, topic: str, cause: object) -> None:
        super().__init__(
            f"the dead-letter topic {topic} takes nothing ({cause}): create it with `recstream topics create` "
            "or allow this client to write to it; until then nothing is passed"
        )


class StoreChanged(IngestError):
    """The server behind the store is another one than before: its last seconds may be missing."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        super().__init__("the profile store was restarted or failed over")


class Halted(IngestError):
    """Ingest stops and stays unready until someone has decided. `final`: until it is started anew, too."""

    final = False


class TopicRecreated(Halted):
    """The interactions topic is not the one whose events the profiles hold."""

    def __init__(self, topic: str, remembered: bytes, found: bytes) -> None:
        super().__init__(
            f"topic {topic} was made anew (id {found.hex()}, the profiles know {remembered.hex()}): stop ingest "
            "and run `recstream topics adopt --keep` to go on with the profiles as they are, or `--reset` to "
            "forget them; either way the new topic is read from its start"
        )


class TopicsMissing(Halted):
    """Topics are missing."""


class StoreEmptied(Halted):
    """The store knows nothing though events were committed as applied."""

    def __init__(self, group: str) -> None:
        super().__init__(
            f"the profile store is empty, but group {group} has committed offsets: if this is the right store, "
            "`recstream topics adopt --reset` reads everything again"
        )


class OffsetOutOfRange(Halted):
    """Records were deleted before they were read, or the log ends before what was committed.

    ranges: (partition, committed, first offset there, end offset).
    """

    def __init__(self, topic: str, ranges: Sequence[tuple[int, int, int, int]]) -> None:
        self.lost = sum(max(0, first - committed) for _, committed, first, _ in ranges)
        where = ", ".join(f"{p}: committed {c}, there {a} to {b}" for p, c, a, b in ranges[:8])
        super().__init__(
            f"topic {topic}: {self.lost} records were deleted before they were read, or the log is shorter than "
            f"what was read ({where}): `recstream topics adopt --keep` goes on at the first record there"
        )


class TooManyDeadLetters(Halted):
    """More records in a minute cannot be read than are taken for accidents."""

    final = True

    def __init__(self, limit: int, reason: str) -> None:
        super().__init__(
            f"more than {limit} records in a minute would have gone to the dead letters, the last for: {reason}. "
            "This looks like a fault of a producer or of this version: mend it and start ingest again"
        )


class GroupActive(IngestError):
    """Offsets cannot be moved while consumers are at work."""

    def __init__(self, group: str, cause: object) -> None:
        super().__init__(f"consumers of group {group} are running ({cause}): stop ingest first")


class BundleIncompatible(IngestError):
    """The settings contradict the model bundle."""


class BundleMissing(IngestError):
    """The bundle of a published version is not where it is looked for, or is another than was published."""

    def __init__(self, version: int, folder: object, reason: object) -> None:
        super().__init__(
            f"the bundle of model version {version} is not in {folder} ({reason}): let ingest see the folder that "
            "`recstream model publish` fills (setting `bundles`), or publish it again"
        )


class TopicsMisconfigured(Halted):
    """The topics are configured so that records would be lost."""


class StillBehind(IngestError):
    """A consumer group did not catch up in the time that it was given."""

    def __init__(self, group: str, topic: str, records: int, seconds: float) -> None:
        super().__init__(
            f"{group} is still {records:,} records of {topic} behind after {seconds:g} s; look into ingest's log and "
            "its /readyz"
        )
