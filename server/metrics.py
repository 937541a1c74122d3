"""The server's figures. Labels are bounded: methods, statuses, causes and tiers, never users or items."""

from prometheus_client import Counter, Gauge, Histogram

_FINE = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CALLS = Counter("recstream_server_calls", "Calls that ended", ["method", "code"])
# A stream's seconds are its life.
CALL_SECONDS = Histogram(
    "recstream_server_call_seconds",
    "From a call's start to its end",
    ["method"],
    buckets=(*_FINE, 60, 600, 3600),
)
OPEN_STREAMS = Gauge("recstream_server_open_streams", "Streams that are open")
UNARY_IN_FLIGHT = Gauge("recstream_server_unary_in_flight", "Unary calls in progress")
REFUSED = Counter("recstream_server_refused", "Calls refused by a limit", ["limit"])

FRAMES = Counter("recstream_server_frames", "Frames sent", ["kind"])
FRAME_SECONDS = Histogram(
    "recstream_server_frame_seconds",
    "From the first news of a change to its frame having been sent",
    buckets=_FINE,
)
EVENT_TO_FRAME_SECONDS = Histogram(
    "recstream_server_event_to_frame_seconds",
    "From the event's timestamp in Kafka to the frame that names it having been sent",
    buckets=_FINE,
)
WAKES = Counter("recstream_server_wakes", "What made streams look again", ["cause"])
UNCHANGED = Counter(
    "recstream_server_unchanged", "Lists that came out the same without an event, and were not sent"
)
MISSED = Counter(
    "recstream_server_missed_announcements", "Changes found by reading revisions, not by announcement"
)
CAUSES_DROPPED = Counter("recstream_server_causes_dropped", "Causes that did not fit into a frame")
STUCK = Counter("recstream_server_stuck_readers", "Streams ended because the client read nothing")

LISTS = Counter("recstream_server_lists", "Lists made", ["tier"])
RANKING_WAIT_SECONDS = Histogram(
    "recstream_server_ranking_wait_seconds", "Waiting for a turn to rank", buckets=_FINE
)
PROFILES_UNAVAILABLE = Counter(
    "recstream_server_profiles_unavailable", "Reads of profiles that failed or were late"
)
PROFILES_ANNOUNCED = Counter(
    "recstream_server_profiles_announced", "Profiles that came with an announcement and were not read"
)
STORE_UP = Gauge("recstream_server_store_up", "1: the last look at the store was answered")

MODEL_SHARE = Gauge(
    "recstream_server_model_share", "Share of users by the model version that answers them", ["version"]
)
AFTER = Counter("recstream_server_after", "Answers that had events to include", ["included"])
RECORDED = Counter("recstream_server_recorded", "Records handed to Kafka", ["topic", "result"])
SLATES = Counter("recstream_server_slates", "Sent lists for the topic `slates`", ["result"])
READY = Gauge("recstream_server_ready", "1: the catalogue is whole and the server takes calls")
