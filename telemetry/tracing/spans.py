"""Spans of the work for traced events and calls.

Without an exporter `on()` is False, and every function here returns at once.

Work is shared: a batch of ingest writes many users in one pipeline, and a list may answer several events. So a piece of
work has a list of spans, at most 16, and each of its steps is a child of every one of them. A single span with links
would be the alternative. Then no trace would be complete, and backends show linked spans badly.

Attributes hold no personal data: no user, no item, and no text of an error, which could quote either.
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
"""Most spans of a piece of work. The traces of further events end there."""

_KEY: Final = contexts.create_key("recstream-followed")
_NOTHING: Final = nullcontext()
Attributes = Mapping[str, str | int | float | bool]

_tracer: Tracer | None = None
_ratio = 0.0


def use(tracer: Tracer | None, ratio: float = 0.0) -> None:
    """Sets the tracer.

    Args:
        tracer: The tracer. None: no spans are made.
        ratio: The share of work without a parent for which a trace begins.
    """
    global _tracer, _ratio
    _tracer, _ratio = tracer, ratio


def on() -> bool:
    """Returns whether this process makes spans."""
    return _tracer is not None


def root() -> SpanContext | None:
    """Decides whether work without a parent begins a trace.

    Returns:
        None if it does. Otherwise a parent that is not sampled, so that later processes do not decide again.
    """
    if random() < _ratio:
        return None
    return SpanContext(getrandbits(128) or 1, getrandbits(64) or 1, False, TraceFlags(TraceFlags.DEFAULT))


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a span.

    Attributes:
        parent: The parent span. None: the span begins a trace.
        began_ns: The start of the span, Unix nanoseconds. None: now.
        attributes: The attributes of the span.
    """

    parent: SpanContext | None
    began_ns: int | None = None
    attributes: Attributes = field(default_factory=dict)


class Followed:
    """A piece of work, as a context, with a span for each event or call that it is done for.

    The spans end when the context ends. Inside, `child` makes a child of each. The first span is the current one, which
    log lines name.

    Args:
        name: The name of the spans.
        kind: The kind of the spans.
        origins: The origin of each span.

    Attributes:
        traceparents: The header of each span, in the order of the origins. Empty if the trace ends here.
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
        """Adds a span for each further origin."""
        if _tracer is not None:
            self.traceparents += [self._add(_tracer, origin) for origin in origins]

    def note(self, name: str, value: str | int | float | bool) -> None:
        """Sets an attribute of each span."""
        for span in self._spans:
            span.set_attribute(name, value)

    def failed(self, kind: str) -> None:
        """Marks each span as failed, with the kind of the error."""
        _fail(self._spans, kind)

    def __enter__(self) -> Self:
        """Makes the spans the current ones."""
        if _tracer is not None:
            here = contexts.get_current()
            context = set_span_in_context(self._current, here) if self._current is not None else here
            self._token = contexts.attach(contexts.set_value(_KEY, self._spans, context))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the spans. Of an error they get only the type."""
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
    """Begins a child of the current span. Without a current span a trace may begin.

    Returns:
        The span, which the caller has to end. None if tracing is off.
    """
    if _tracer is None:
        return None
    current = get_current_span().get_span_context()
    parent = current if current.is_valid else root()
    return _begin(_tracer, name, kind, Origin(parent, attributes=attributes))


def child(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
) -> AbstractContextManager[object]:
    """Traces a step of the current work, as a child of each of its spans."""
    if _tracer is None:
        return _NOTHING
    above = contexts.get_value(_KEY)
    return (
        _children(_tracer, above, name, kind, attributes) if isinstance(above, list) and above else _NOTHING
    )


@contextmanager
def passing(parent: SpanContext) -> Iterator[None]:
    """Makes another process's span the parent of the spans that begin inside."""
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
