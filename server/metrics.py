"""The metrics of the server.

Labels are never users or items. `LABEL_VALUES` lists their values. Series with a fixed set of label values exist from
the start, at zero.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from telemetry.labels import ANSWERING_VERSIONS, LIVE_VERSIONS, SURFACES, LabelValues, LabelValuesOf

METHODS: Final = (
    "Recommend",
    "Rank",
    "StreamRecommendations",
    "Session",
    "SimilarItems",
    "Record",
    "BatchRecord",
    "RecordStream",
    "GetProfile",
    "ExportProfile",
    "EraseProfile",
    "GetItem",
    "BatchGetItems",
    "ListItems",
    "PutItems",
    "PatchItems",
    "WithdrawItems",
    "TopItems",
    "DeleteItems",
)
CODES: Final = (
    "OK",
    "CANCELLED",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "ABORTED",
    "INTERNAL",
)
LIMITS: Final = ("streams", "streams_per_user", "unary")
FRAME_KINDS: Final = ("snapshot", "delta", "heartbeat", "go_away")
WAKEUP_CAUSES: Final = (
    "event",
    "item",
    "gone",
    "revision",
    "store",
    "tier",
    "model",
    "surfaces",
    "age",
    "rules",
)
RECORDED_TOPICS: Final = ("interactions", "item-changes")
RECORDED_RESULTS: Final = ("ok", "failed")
SLATE_RESULTS: Final = ("sent", "dropped")

_FINE = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CALLS = Counter("recstream_server_calls", "Calls that ended", ["method", "code"])
for _method in METHODS:
    for _code in CODES:
        CALLS.labels(_method, _code)
CALL_SECONDS = Histogram(
    "recstream_server_call_seconds",
    "Time from the start of a call to its end; for a stream, its whole life",
    ["method"],
    buckets=(*_FINE, 60, 600, 3600),
)
CALL_SECONDS_OF = {method: CALL_SECONDS.labels(method) for method in METHODS}
OPEN_STREAMS = Gauge("recstream_server_open_streams", "Open streams")
STREAMS_BY_VERSION = Gauge(
    "recstream_server_streams_by_version",
    "Open streams, by surface and by the model version of their slate; 0: no model was involved",
    ["surface", "version"],
)
UNARY_IN_FLIGHT = Gauge("recstream_server_unary_in_flight", "Unary calls in progress")
REFUSED = Counter("recstream_server_refused", "Calls refused by a limit", ["limit"])
for _limit in LIMITS:
    REFUSED.labels(_limit)

FRAMES = Counter("recstream_server_frames", "Frames sent", ["kind"])
FRAMES_OF = {kind: FRAMES.labels(kind) for kind in FRAME_KINDS}
FRAME_SECONDS = Histogram(
    "recstream_server_frame_seconds",
    "Time from the first notice of a change until its frame is sent",
    buckets=_FINE,
)
EVENT_TO_FRAME_SECONDS = Histogram(
    "recstream_server_event_to_frame_seconds",
    "Time from an event's timestamp in Kafka until the frame that names it is sent, by the version of the slate",
    ["surface", "version"],
    buckets=(*_FINE, 30, 60),
)
STREAM_WAKEUPS = Counter("recstream_server_stream_wakeups", "Wake-ups of streams, by cause", ["cause"])
STREAM_WAKEUPS_BY = {cause: STREAM_WAKEUPS.labels(cause) for cause in WAKEUP_CAUSES}
UNCHANGED = Counter(
    "recstream_server_unchanged",
    "Slates that were not sent, because they were unchanged and had no events to name",
)
MISSED = Counter(
    "recstream_server_missed_announcements",
    "Changes found by reading revisions instead of by an announcement",
)
CAUSES_DROPPED = Counter("recstream_server_causes_dropped", "Causes that did not fit into a frame")
SLOW_CONSUMERS = Counter(
    "recstream_server_slow_consumers", "Streams that ended because the client did not read"
)

RANKING_WAIT_SECONDS = Histogram(
    "recstream_server_ranking_wait_seconds", "Time waited for a ranking slot", buckets=_FINE
)
PROFILES_UNAVAILABLE = Counter(
    "recstream_server_profiles_unavailable", "Reads of profiles that failed or were late"
)
PROFILES_ANNOUNCED = Counter(
    "recstream_server_profiles_announced", "Profiles that came with an announcement and were not read"
)
STORE_UP = Gauge("recstream_server_store_up", "1 if the store answered the last read of revisions")

MODEL_SHARE = Gauge(
    "recstream_server_model_share", "Share of users, by the model version that serves them", ["version"]
)
READ_YOUR_WRITES = Counter(
    "recstream_server_read_your_writes",
    "Calls that wait for events, by whether the answer includes them",
    ["included"],
)
READ_YOUR_WRITES_INCLUDED = {
    included: READ_YOUR_WRITES.labels(str(included).lower()) for included in (True, False)
}
RECORDED = Counter("recstream_server_recorded", "Records sent to Kafka, by result", ["topic", "result"])
for _topic in RECORDED_TOPICS:
    for _result in RECORDED_RESULTS:
        RECORDED.labels(_topic, _result)
CLOCKS_AHEAD = Counter(
    "recstream_server_clocks_ahead",
    "Recorded events whose time was ahead of this process's by more than profiles.max_skew_seconds, and was replaced",
)
ITEM_CLOCKS_AHEAD = Counter(
    "recstream_server_item_clocks_ahead",
    "Changes of items whose time was ahead of this process's by more than five minutes, and was replaced",
)
SLATES = Counter(
    "recstream_server_slates", "Sent slates, by whether they reached the topic `slates`", ["result"]
)
for _result in SLATE_RESULTS:
    SLATES.labels(_result)
READY = Gauge("recstream_server_ready", "1 while the component is ready.", ["component"])

LABEL_VALUES: Final[LabelValuesOf] = {
    (CALLS, "method"): LabelValues(METHODS),
    (CALLS, "code"): LabelValues(CODES),
    (CALL_SECONDS, "method"): LabelValues(METHODS),
    (STREAMS_BY_VERSION, "surface"): SURFACES,
    (STREAMS_BY_VERSION, "version"): ANSWERING_VERSIONS,
    (REFUSED, "limit"): LabelValues(LIMITS),
    (FRAMES, "kind"): LabelValues(FRAME_KINDS),
    (EVENT_TO_FRAME_SECONDS, "surface"): SURFACES,
    (EVENT_TO_FRAME_SECONDS, "version"): ANSWERING_VERSIONS,
    (STREAM_WAKEUPS, "cause"): LabelValues(WAKEUP_CAUSES),
    (MODEL_SHARE, "version"): LIVE_VERSIONS,
    (READ_YOUR_WRITES, "included"): LabelValues(("true", "false")),
    (RECORDED, "topic"): LabelValues(RECORDED_TOPICS),
    (RECORDED, "result"): LabelValues(RECORDED_RESULTS),
    (SLATES, "result"): LabelValues(SLATE_RESULTS),
    (READY, "component"): LabelValues(("catalog", "process")),
}
