"""Sets up logging to standard error: one line of JSON per event, or readable lines on a terminal."""

import logging
import sys

import structlog
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

# Values of local variables are left out: they are long, and contain user data.
_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def configure_logs(level: int = logging.INFO) -> None:
    """Sets up the logging of this process. Lines of structlog and, from WARNING on, of the libraries have one form.

    Args:
        level: The lowest level that structlog writes.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    readable = sys.stderr.isatty()
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer()] if readable else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _add_trace(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Adds the ids of the current span, if it is traced. For a batch that is the first span."""
    span = get_current_span()
    if span.is_recording():
        context = span.get_span_context()
        line["trace_id"] = format_trace_id(context.trace_id)
        line["span_id"] = format_span_id(context.span_id)
    return line
