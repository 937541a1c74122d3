"""Which values a metric's labels take: few, whatever comes in from outside."""

import re
from dataclasses import dataclass
from typing import Final

from inference.metrics import FAILURES, GRAPHS
from inference.version_labels import NO_VERSION, OTHER
from ingest import metrics as ingest
from profiles import metrics as profiles
from ranking import metrics as ranking
from ranking.settings import DEFAULT_SURFACE
from server import metrics as server
from telemetry.dashboards.metrics import Metric


@dataclass(frozen=True, slots=True)
class Bound:
    """values: those that are named in the code. more: what else there may be, in words; pattern: that as a regular
    expression. `more` is bounded too: by settings, by Kafka, or by how many versions are live."""

    values: tuple[str, ...] = ()
    more: str = ""
    pattern: str = ""

    def holds(self, value: str) -> bool:
        """Whether the label may have this value."""
        return value in self.values or bool(self.pattern and re.fullmatch(self.pattern, value))

    def __str__(self) -> str:
        named = [f"`{value}`" for value in self.values]
        return ", ".join([*named, *([self.more] if self.more else [])])


_LIVE: Final = Bound((), "live versions, two at most", r"\d+")
_LISTS: Final = Bound((NO_VERSION, OTHER), "live versions, two at most", r"\d+")
_HELD: Final = Bound((), "versions that have vectors, `catalog.versions` at most", r"\d+")
_SURFACE: Final = Bound((DEFAULT_SURFACE, OTHER), "surfaces of the settings", r"[\w.-]+")
_SOURCES: Final = Bound(ranking.SOURCES)
_TOPIC: Final = Bound(
    (), "names of the catalogue's topics", r".*(items|item-vectors|item-stats|model-versions)"
)
_GRAPH: Final = Bound(GRAPHS, "a graph for each modality of the model", r"\w+")
_PARTITION: Final = Bound((), "partitions that the process holds", r"\d+")
_ACTION: Final = Bound((), "actions of the settings", r"[\w.-]+")

# By metric and label; where the metric is empty, for every metric with that label.
_BOUNDS: Final[dict[tuple[str, str], Bound]] = {
    ("", "version"): _LISTS,
    ("", "surface"): _SURFACE,
    ("", "graph"): _GRAPH,
    ("", "partition"): _PARTITION,
    ("", "method"): Bound(server.METHODS),
    ("", "code"): Bound(server.CODES),
    ("", "limit"): Bound(server.LIMITS),
    ("", "kind"): Bound(server.FRAME_KINDS),
    ("", "tier"): Bound(ranking.TIERS),
    ("", "action"): _ACTION,
    ("", "position"): Bound(ingest.POSITIONS),
    ("", "worker"): Bound(ingest.WORKERS),
    ("", "included"): Bound(("true", "false")),
    ("", "result"): Bound((*server.RECORDED_RESULTS, *server.SLATE_RESULTS)),
    ("", "place"): Bound(("graph", "scanned")),
    ("recstream_server_stream_wakeups_total", "cause"): Bound(server.WAKEUP_CAUSES),
    ("recstream_server_recorded_total", "topic"): Bound(server.RECORDED_TOPICS),
    ("recstream_server_recorded_total", "result"): Bound(server.RECORDED_RESULTS),
    ("recstream_server_slates_total", "result"): Bound(server.SLATE_RESULTS),
    ("recstream_server_model_share", "version"): _LIVE,
    ("recstream_ranking_stage_seconds", "stage"): Bound(ranking.STAGES),
    ("recstream_ranking_candidates_total", "source"): _SOURCES,
    ("recstream_ranking_positions_total", "source"): _SOURCES,
    ("recstream_ranking_source_failures_total", "source"): _SOURCES,
    ("recstream_ranking_fallbacks_total", "what"): Bound(ranking.FALLBACKS_FROM),
    ("recstream_ranking_fallbacks_total", "why"): Bound(ranking.FALLBACK_REASONS),
    ("recstream_ranking_histories_total", "from"): Bound(ranking.ENCODED_BY),
    ("recstream_ingest_records_total", "outcome"): Bound(ingest.OUTCOMES),
    ("recstream_ingest_stage_seconds", "stage"): Bound(ingest.STAGES),
    ("recstream_ingest_profiles_total", "source"): Bound(ingest.PROFILE_SOURCES),
    ("recstream_ingest_batch_retries_total", "cause"): Bound(ingest.RETRY_CAUSES),
    ("recstream_ingest_dead_letters_total", "source"): Bound(tuple(ingest.LETTER_REASONS)),
    ("recstream_ingest_dead_letters_total", "reason"): Bound(
        tuple(reason for reasons in ingest.LETTER_REASONS.values() for reason in reasons)
    ),
    ("recstream_ingest_states_total", "how"): Bound(ingest.STATES_HOW),
    ("recstream_ingest_model_share", "version"): _LIVE,
    ("recstream_server_ready", "component"): Bound(("catalog", "process")),
    ("recstream_ingest_ready", "component"): Bound(
        ("process", "catalog", "model", "store", "kafka", "interactions", "statistics", "quality"),
        "`catalogue of model` and a live version",
        r"catalogue of model \d+",
    ),
    ("recstream_quality_events_total", "outcome"): Bound(ingest.QUALITY_OUTCOMES),
    ("recstream_profiles_store_requests_total", "operation"): Bound(profiles.OPERATIONS),
    ("recstream_profiles_store_requests_total", "outcome"): Bound(profiles.OUTCOMES),
    ("recstream_profiles_store_seconds", "operation"): Bound(profiles.OPERATIONS),
    ("recstream_profiles_writes_total", "outcome"): Bound(profiles.WRITE_OUTCOMES),
    ("recstream_catalog_records_total", "topic"): _TOPIC,
    ("recstream_catalog_bad_records_total", "topic"): _TOPIC,
    ("recstream_catalog_index_vectors", "version"): _HELD,
    ("recstream_catalog_index_built_timestamp_seconds", "version"): _HELD,
    ("recstream_inference_call_failures_total", "reason"): Bound(FAILURES),
    ("recstream_background_restarts_total", "task"): Bound(
        (
            "catalog-reader",
            "catalog-index",
            "catalog-versions",
            "profile-subscriptions",
            "profile-probe",
            "log-producer",
            "log-topics",
            "slate-log",
            "stream-revisions",
            "stream-tiers",
            "sweeper",
        )
    ),
}


def bound(metric: Metric, label: str) -> Bound:
    """The label's values. Raises KeyError where nothing is said of them."""
    return _BOUNDS.get((metric.name, label)) or _BOUNDS["", label]
