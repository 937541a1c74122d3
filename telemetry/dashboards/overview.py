"""The first dashboard: is it well, is it fast, is it fresh, which model answers."""

from telemetry.dashboards.panels import Dashboard, Panel, PanelRow, Query, Shape
from telemetry.dashboards.queries import STEP, a_second, largest, legend, quantile, quantiles, share, total

_NUMBER = Shape.NUMBER
_ERRORS = 'code=~"INTERNAL|UNAVAILABLE|RESOURCE_EXHAUSTED"'

OVERVIEW = Dashboard(
    "recstream-overview",
    "recstream: overview",
    "Whether recstream is well, fast and fresh, and which model answers. Start here.",
    (
        PanelRow(
            "Now",
            (
                Panel(
                    "Servers ready",
                    "Server processes that have read the catalogue and take calls.",
                    "short",
                    (Query("sum(min without (component) (recstream_server_ready))"),),
                    _NUMBER,
                    4,
                ),
                Panel(
                    "Components of ingest not ready",
                    "Components of ingest processes that are not ready; /readyz says why. Good: 0.",
                    "short",
                    (Query("count(recstream_ingest_ready == 0) or vector(0)"),),
                    _NUMBER,
                    4,
                ),
                Panel(
                    "Open streams",
                    "Streams of lists and of events that clients hold open.",
                    "short",
                    (Query("sum(recstream_server_open_streams)"),),
                    _NUMBER,
                    4,
                ),
                Panel(
                    "Lag",
                    "How long the oldest event not yet applied has lain in Kafka. Good: below a second.",
                    "s",
                    (Query("max(recstream_ingest_lag_seconds)"),),
                    _NUMBER,
                    4,
                ),
                Panel(
                    "Event to frame, p99",
                    "From an event's timestamp in Kafka to the frame that names it having been sent.",
                    "s",
                    (Query(quantile(0.99, "recstream_server_event_to_frame_seconds")),),
                    _NUMBER,
                    4,
                ),
                Panel(
                    "Lists by the ranker",
                    "Share of lists of the best tier. Below 100 %: Triton is slow or down, or nothing is published.",
                    "percentunit",
                    (Query(share("recstream_ranking_lists_total", 'tier="ranked"')),),
                    _NUMBER,
                    4,
                ),
            ),
        ),
        PanelRow(
            "Calls",
            (
                Panel(
                    "Calls a second",
                    "Calls that ended, by method. A stream is one call.",
                    "reqps",
                    (a_second("recstream_server_calls_total", "method"),),
                ),
                Panel(
                    "Share of calls that failed",
                    "INTERNAL, UNAVAILABLE or RESOURCE_EXHAUSTED; a server that drains ends streams as UNAVAILABLE.",
                    "percentunit",
                    (
                        Query(
                            share("recstream_server_calls_total", _ERRORS, by="method"),
                            legend("method"),
                        ),
                    ),
                ),
                Panel(
                    "Duration of unary calls, p99",
                    "From a call's start to its end, waiting for a turn included.",
                    "s",
                    (
                        Query(
                            quantile(
                                0.99,
                                "recstream_server_call_seconds",
                                "method",
                                'method!~"StreamRecommendations|Session|RecordStream"',
                            ),
                            legend("method"),
                        ),
                    ),
                ),
            ),
        ),
        PanelRow(
            "Freshness",
            (
                Panel(
                    "Event to frame",
                    "From an event's timestamp in Kafka to the frame that names it having been sent, on open streams.",
                    "s",
                    quantiles("recstream_server_event_to_frame_seconds", 0.5, 0.95, 0.99),
                ),
                Panel(
                    "Event to frame",
                    "The same as a heat map: a second hump is another kind of event, or a process that lags.",
                    "short",
                    (
                        Query(
                            f"sum by (le) (increase(recstream_server_event_to_frame_seconds_bucket[{STEP}]))",
                            "{{le}}",
                        ),
                    ),
                    Shape.HEAT,
                ),
                Panel(
                    "Lag of ingest",
                    "The oldest event not yet applied, by partition.",
                    "s",
                    (largest("recstream_ingest_lag_seconds", "partition"),),
                ),
            ),
        ),
        PanelRow(
            "Lists and model",
            (
                Panel(
                    "Lists by tier",
                    "ranked: the ranker; vectors: the user's vector against the items'; popular: popularity.",
                    "ops",
                    (a_second("recstream_ranking_lists_total", "tier"),),
                    Shape.STACK,
                ),
                Panel(
                    "Lists by model version",
                    "The version that answered; 0: none had a part in it.",
                    "ops",
                    (a_second("recstream_ranking_lists_by_version_total", "version"),),
                    Shape.STACK,
                ),
                Panel(
                    "Share of users by version",
                    "As `recstream model publish`, `promote` and `rollback` have set it.",
                    "percentunit",
                    (largest("recstream_server_model_share", "version"),),
                ),
            ),
        ),
        PanelRow(
            "Processes",
            (
                Panel(
                    "Memory",
                    "Resident memory, by process. Two live model versions take twice the room for vectors.",
                    "bytes",
                    (Query("process_resident_memory_bytes", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "CPU",
                    "Cores in use. One process uses little more than one core: its event loop is one thread.",
                    "short",
                    (Query(f"rate(process_cpu_seconds_total[{STEP}])", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Open files",
                    "Share of the file descriptors that a process may open; each stream is one.",
                    "percentunit",
                    (Query("process_open_fds / process_max_fds", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Up for",
                    "Time since a process started.",
                    "s",
                    (Query("time() - process_start_time_seconds", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Components of ingest",
                    "1: ready; 0: not ready, and /readyz says why.",
                    "short",
                    (Query("min by (component) (recstream_ingest_ready)", "{{component}}"),),
                ),
                Panel(
                    "Streams",
                    "Open streams of the whole installation.",
                    "short",
                    (total("recstream_server_open_streams"),),
                ),
            ),
        ),
    ),
)
