"""The first dashboard: health, latency, freshness, and which model answers."""

from telemetry.dashboards.panels import Dashboard, Panel, PanelRow, Query, Shape
from telemetry.dashboards.queries import STEP, a_second, largest, legend, quantile, quantiles, share, total

_NUMBER = Shape.NUMBER
_ERRORS = 'code=~"INTERNAL|UNAVAILABLE|RESOURCE_EXHAUSTED"'

OVERVIEW = Dashboard(
    "recstream-overview",
    "recstream: overview",
    "Health, latency and freshness of recstream, and which model answers. Start here.",
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
                    "How long the oldest event not applied yet has been in Kafka. Good: below a second.",
                    "s",
                    (Query("max(recstream_ingest_lag_seconds)"),),
                    _NUMBER,
                    4,
                ),
                Panel(
                    "Event to frame, p99",
                    "From an event's timestamp in Kafka until the frame that names the event is sent.",
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
                    "Finished calls, by method. A stream is one call.",
                    "reqps",
                    (a_second("recstream_server_calls_total", "method"),),
                ),
                Panel(
                    "Share of calls that failed",
                    "INTERNAL, UNAVAILABLE or RESOURCE_EXHAUSTED. A server that drains ends streams as UNAVAILABLE.",
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
                    "From a call's start to its end, including the wait for a ranking slot.",
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
                    "From an event's timestamp in Kafka until the frame that names the event is sent on a stream.",
                    "s",
                    quantiles("recstream_server_event_to_frame_seconds", 0.5, 0.95, 0.99),
                ),
                Panel(
                    "Event to frame",
                    "The same as a heat map. A second hump is another kind of event, or a process that lags.",
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
                    "Age of the oldest event not applied yet, by partition.",
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
                    "ranked: by the ranker; vectors: by user and item vectors; popular: by popularity.",
                    "ops",
                    (a_second("recstream_ranking_lists_total", "tier"),),
                    Shape.STACK,
                ),
                Panel(
                    "Lists by model version",
                    "The version that made the list; 0: no model was used.",
                    "ops",
                    (a_second("recstream_ranking_lists_by_version_total", "version"),),
                    Shape.STACK,
                ),
                Panel(
                    "Share of users by version",
                    "Set by `recstream model publish`, `promote` and `rollback`.",
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
                    "Resident memory, by process. Two live model versions double the memory for vectors.",
                    "bytes",
                    (Query("process_resident_memory_bytes", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "CPU",
                    "Cores in use. A process uses little more than one core, since its event loop is one thread.",
                    "short",
                    (Query(f"rate(process_cpu_seconds_total[{STEP}])", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Open files",
                    "Share of the file descriptors that a process may open. Each client connection takes one.",
                    "percentunit",
                    (Query("process_open_fds / process_max_fds", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Uptime",
                    "Time since a process started.",
                    "s",
                    (Query("time() - process_start_time_seconds", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Components of ingest",
                    "1: ready; 0: not ready. /readyz says why.",
                    "short",
                    (Query("min by (component) (recstream_ingest_ready)", "{{component}}"),),
                ),
                Panel(
                    "Streams",
                    "Open streams of all servers.",
                    "short",
                    (total("recstream_server_open_streams"),),
                ),
            ),
        ),
    ),
)
