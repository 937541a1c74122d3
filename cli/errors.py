"""How errors are shown in a terminal: what happened, and what to do about it."""

from collections.abc import Iterator
from typing import Final

# Error classes whose message is a single sentence, by name, with the next step if the message does not have it. They
# are listed by name, because a command loads only the rooms that it needs.
_NEXT_STEPS: Final = {
    "aiokafka.errors.KafkaError": "`recstream doctor` says what is reachable",
    "catalog.errors.CatalogError": "`recstream doctor` says what is reachable",
    "inference.errors.InferenceError": "",
    "ingest.errors.IngestError": "",
    "models.errors.ModelsError": "",
    "profiles.errors.StoreUnavailable": "check that Valkey runs, and RECSTREAM_STORE__ADDRESSES",
    "readers.errors.UnreadableFile": "",
    "recstream.client.errors.RecstreamError": "`recstream doctor` says what is reachable",
    "topics.errors.TopicsError": "`recstream doctor` says what is reachable",
}
# Base classes of the errors that have a message and a next step.
_TWO_PARTS: Final = {
    "cli.errors.CommandError",
    "configuration.errors.ConfigurationError",
    "local.errors.LocalError",
    "rollout.errors.RolloutError",
    "telemetry.errors.TelemetryError",
}


class CommandError(Exception):
    """A command cannot do what its arguments ask for.

    Attributes:
        what: What went wrong, and with which input.
        next_step: What to do about it. Empty if `what` says it.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}: {next_step}" if next_step else what)


def terminal_text(error: BaseException) -> tuple[str, str] | None:
    """Returns what happened and what to do, for an error that the user can act on. None for a bug of ours.

    For a group of errors it takes the first error that the user can act on.
    """
    for each in _leaves(error):
        for name in (f"{kind.__module__}.{kind.__qualname__}" for kind in type(each).__mro__):
            if name in _TWO_PARTS:
                # The classes are known by name only, so a type checker does not see these attributes.
                return getattr(each, "what"), getattr(each, "next_step")  # noqa: B009
            if name in _NEXT_STEPS:
                return str(each) or type(each).__name__, _NEXT_STEPS[name]
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
