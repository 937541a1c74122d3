"""Spans of what is done for those events and calls that are traced, and for no others.

Where nothing exports, `on()` is False and everything here returns at once.

Work is shared: a batch of ingest writes many users in one pipeline, a list may answer several events. So what is
followed is a list of spans, at most 16, and a step of the work is a child of each. Links from one span of the batch
would be the other way; then no trace would be whole by itself, and backends show linked spans badly.

No attribute says who did what: no user, no item, no text of an error, which could quote either.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from random import getrandbits, random
from types import TracebackType
from typing import Final, Self

from opentelemetry import context as contexts
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from telemetry.tracing.w3c import write

__all__ = ["MOST", "Followed", "Origin", "SpanKind", "child", "on", "passing", "root", "start", "use"]

MOST: Final = 16
"""Spans that a piece of work is followed for; further ones end where they are."""

_KEY: Final = contexts.create_key("recstream-followed")
_NOTHING: Final = nullcontext()
Attributes = Mapping[str, str | int | float | bool]

_tracer: Tracer | None = None
_ratio = 0.0


def use(tracer: Tracer | None, ratio: float = 0.0) -> None:
    """Set what makes spans from now on.

    Args:
        tracer: The tracer; None: no spans are made.
        ratio: The share of the traces that may begin here and do.
    """
    global _tracer, _ratio
    _tracer, _ratio = tracer, ratio


def on() -> bool:
    """Return whether this process makes spans."""
    return _tracer is not None


def root() -> SpanContext | None:
    """Decide whether work without a parent begins a trace.

    Returns:
        None if it does. Otherwise a parent that is not sampled, so that no later process decides again.
    """
    if random() < _ratio:
        return None
    return SpanContext(getrandbits(128) or 1, getrandbits(64) or 1, False, TraceFlags(TraceFlags.DEFAULT))


@dataclass(frozen=True, slots=True)
class Origin:
    """What a span goes on from.

    Attributes:
        parent: The span before it. None: it begins a trace.
        began_ns: Its start, Unix nanoseconds. None: now.
        attributes: Its attributes.
    """

    parent: SpanContext | None
    began_ns: int | None = None
    attributes: Attributes = field(default_factory=dict)


class Followed:
    """A piece of work, with a span for each event or call that it is done for.

    The spans begin on entering and end on leaving. Inside, `child` makes a child of each, and the first is the current
    span, which log lines name.

    Args:
        name: The name of the spans.
        kind: Their kind.
        origins: What they go on from.

    Attributes:
        traceparents: The header of each span, in the order of the origins; empty where the trace ends here.
    """

    __slots__ = ("_current", "_kind", "_name", "_spans", "_token", "traceparents")

    def __init__(self, name: str, kind: SpanKind, origins: Iterable[Origin] = ()) -> None:
        self._name = name
        self._kind = kind
        self._spans: list[Span] = []
        self._current: Span | None = None
        self._token: object = None
        self.traceparents: list[str] = []
        self.add(origins)

    def add(self, origins: Iterable[Origin]) -> None:
        """Add a span for each further origin."""
        if _tracer is not None:
            self.traceparents += [self._add(_tracer, origin) for origin in origins]

    def note(self, name: str, value: str | int | float | bool) -> None:
        """Set an attribute of each span."""
        for span in self._spans:
            span.set_attribute(name, value)

    def failed(self, kind: str) -> None:
        """Mark each span as failed, with the kind of the error."""
        _fail(self._spans, kind)

    def __enter__(self) -> Self:
        """Begin the spans."""
        if _tracer is not None:
            here = contexts.get_current()
            context = set_span_in_context(self._current, here) if self._current is not None else here
            self._token = contexts.attach(contexts.set_value(_KEY, self._spans, context))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the spans. An error is named by its type alone."""
        if self._token is not None:
            contexts.detach(self._token)  # type: ignore[arg-type]
        _end(self._spans, kind)

    def _add(self, tracer: Tracer, origin: Origin) -> str:
        if len(self._spans) == MOST:
            return ""
        span = _begin(tracer, self._name, self._kind, origin)
        self._current = self._current or span
        if not span.is_recording():
            return ""
        self._spans.append(span)
        return write(span.get_span_context())


def start(name: str, kind: SpanKind, attributes: Attributes) -> Span | None:
    """Begin a span below the current one; without a current one a trace may begin.

    Returns:
        The span, which the caller has to end; None if tracing is off.
    """
    if _tracer is None:
        return None
    current = get_current_span().get_span_context()
    parent = current if current.is_valid else root()
    return _begin(_tracer, name, kind, Origin(parent, attributes=attributes))


def child(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
) -> AbstractContextManager[object]:
    """Trace a step of the current work: a child of each of its spans."""
    if _tracer is None:
        return _NOTHING
    above = contexts.get_value(_KEY)
    return (
        _children(_tracer, above, name, kind, attributes) if isinstance(above, list) and above else _NOTHING
    )


@contextmanager
def passing(parent: SpanContext) -> Iterator[None]:
    """Let spans that begin inside go on from another process's span, with none of this process in between."""
    token = contexts.attach(set_span_in_context(NonRecordingSpan(parent)))
    try:
        yield
    finally:
        contexts.detach(token)


@contextmanager
def _children(
    tracer: Tracer, above: list[Span], name: str, kind: SpanKind, attributes: Attributes | None
) -> Iterator[None]:
    spans = [tracer.start_span(name, set_span_in_context(span), kind, attributes) for span in above]
    token = contexts.attach(contexts.set_value(_KEY, spans, set_span_in_context(spans[0])))
    failed: type[BaseException] | None = None
    try:
        yield
    except BaseException as error:
        failed = type(error)
        raise
    finally:
        contexts.detach(token)
        _end(spans, failed)


def _begin(tracer: Tracer, name: str, kind: SpanKind, origin: Origin) -> Span:
    above = contexts.Context()
    if origin.parent is not None:
        if not origin.parent.trace_flags.sampled:
            return NonRecordingSpan(origin.parent)
        above = set_span_in_context(NonRecordingSpan(origin.parent), above)
    return tracer.start_span(name, above, kind, origin.attributes, start_time=origin.began_ns)


def _end(spans: list[Span], failed: type[BaseException] | None) -> None:
    if failed is not None:
        _fail(spans, failed.__name__)
    for span in spans:
        span.end()


def _fail(spans: list[Span], kind: str) -> None:
    for span in spans:
        span.set_attribute("error.type", kind)
        span.set_status(StatusCode.ERROR)
