"""The dashboard of the servers: calls, streams, the pipeline."""

from telemetry.dashboards.panels import Dashboard, Panel, PanelRow, Query, Shape
from telemetry.dashboards.queries import (
    STEP,
    a_second,
    largest,
    legend,
    mean,
    quantile,
    quantiles,
    rate,
    total,
)

_CALLS = PanelRow(
    "Calls",
    (
        Panel(
            "Calls by status",
            "Finished calls, by gRPC status.",
            "reqps",
            (a_second("recstream_server_calls_total", "code"),),
            Shape.STACK,
        ),
        Panel(
            "Duration of unary calls",
            "All unary methods together.",
            "s",
            tuple(
                Query(
                    quantile(
                        q,
                        "recstream_server_call_seconds",
                        where='method!~"StreamRecommendations|Session|RecordStream"',
                    ),
                    f"p{q * 100:g}",
                )
                for q in (0.5, 0.95, 0.99)
            ),
        ),
        Panel(
            "In progress, and refused by a limit",
            "Unary calls in progress; refused calls a second, by limit (server.max_streams and others).",
            "short",
            (
                Query("sum(recstream_server_unary_in_flight)", "in progress"),
                a_second("recstream_server_refused_total", "limit"),
            ),
        ),
        Panel(
            "Records sent to Kafka",
            "Events and changes of items that the server wrote, by topic and result. clocks ahead: those that got the "
            "server's time.",
            "ops",
            (
                a_second("recstream_server_recorded_total", "topic, result"),
                Query(rate("recstream_server_clocks_ahead_total"), "clocks ahead"),
                Query(rate("recstream_server_item_clocks_ahead_total"), "clocks of items ahead"),
            ),
        ),
        Panel(
            "Read your writes",
            "Calls that waited for events. false: the deadline came first.",
            "ops",
            (a_second("recstream_server_read_your_writes_total", "included"),),
        ),
        Panel(
            "Lists for the topic slates",
            "dropped: Kafka did not take the list in time. Training and online quality miss it.",
            "ops",
            (a_second("recstream_server_slates_total", "result"),),
        ),
    ),
)
_STREAMS = PanelRow(
    "Streams",
    (
        Panel(
            "Open streams",
            "By server. If it is uneven, the load balancer pins clients to servers.",
            "short",
            (Query("recstream_server_open_streams", "{{instance}}"),),
        ),
        Panel(
            "Streams by surface and version",
            "By the list that they show. Version 0: no model was used.",
            "short",
            (total("recstream_server_streams_by_version", "surface, version"),),
            Shape.STACK,
        ),
        Panel(
            "Frames a second",
            "By kind.",
            "ops",
            (a_second("recstream_server_frames_total", "kind"),),
            Shape.STACK,
        ),
        Panel(
            "Event to frame by surface and version, p99",
            "From an event's timestamp in Kafka until the frame that names the event is sent.",
            "s",
            (
                Query(
                    quantile(0.99, "recstream_server_event_to_frame_seconds", "surface, version"),
                    legend("surface, version"),
                ),
            ),
        ),
        Panel(
            "Change to frame",
            "From the moment when this server learns of a change until its frame is sent.",
            "s",
            quantiles("recstream_server_frame_seconds", 0.5, 0.99),
        ),
        Panel(
            "What wakes streams",
            "event: the user acted; item, gone: the catalogue changed; revision: a change found by polling; tier, "
            "model, surfaces, age.",
            "ops",
            (a_second("recstream_server_stream_wakeups_total", "cause"),),
        ),
        Panel(
            "Announcements",
            "Received; missed, so that streams found the change by polling within a second or two; reconnects.",
            "ops",
            (
                Query(rate("recstream_profiles_announcements_total"), "received"),
                Query(rate("recstream_server_missed_announcements_total"), "missed"),
                Query(rate("recstream_profiles_announcement_reconnects_total"), "reconnects"),
            ),
        ),
        Panel(
            "Other stream counters",
            "Unchanged lists, which are not sent; clients that stopped reading; causes that a frame had no room for.",
            "ops",
            (
                Query(rate("recstream_server_unchanged_total"), "unchanged"),
                Query(rate("recstream_server_slow_consumers_total"), "slow consumers"),
                Query(rate("recstream_server_causes_dropped_total"), "causes dropped"),
            ),
        ),
        Panel(
            "Watched users",
            "Users whose announcements a server subscribes to.",
            "short",
            (total("recstream_profiles_watched_users"),),
        ),
    ),
)
_LISTS = PanelRow(
    "Lists",
    (
        Panel(
            "Lists by tier and surface",
            "Lists that were made.",
            "ops",
            (a_second("recstream_ranking_lists_total", "tier, surface"),),
            Shape.STACK,
        ),
        Panel(
            "Version of the surfaces",
            "By process; 0: its settings. refused: 1 while it cannot use the last change and keeps the one before.",
            "short",
            (
                Query("recstream_surfaces_version", "{{job}} {{instance}}"),
                Query("recstream_surfaces_refused", "{{job}} {{instance}} refused"),
            ),
        ),
        Panel(
            "Duration of a list by version, p99",
            "From request to list, without the wait for a ranking slot. A new version that is slower shows here.",
            "s",
            (Query(quantile(0.99, "recstream_ranking_list_seconds", "version"), legend("version")),),
        ),
        Panel(
            "Duration by stage, p99",
            "hydrate: the user's state; filter, source, score, select; slate: reasons and the answer.",
            "s",
            (Query(quantile(0.99, "recstream_ranking_stage_seconds", "stage"), legend("stage")),),
        ),
        Panel(
            "Fallbacks",
            "Lists that were made without the ranker, vectors, a refold or reasons, and why.",
            "ops",
            (a_second("recstream_ranking_fallbacks_total", "what, why"),),
        ),
        Panel(
            "Wait for a ranking slot",
            "Few lists are ranked at a time. Users who act come first.",
            "s",
            quantiles("recstream_server_ranking_wait_seconds", 0.5, 0.99),
        ),
        Panel(
            "Positions by source",
            "Share of the positions of lists that each source filled.",
            "percentunit",
            (
                Query(
                    f"{rate('recstream_ranking_positions_total', 'source')} / on() group_left() "
                    f"{rate('recstream_ranking_positions_total')}",
                    legend("source"),
                ),
            ),
        ),
        Panel(
            "Candidates a second",
            "By the source that retrieved them first. failed: sources that raised or were late.",
            "ops",
            (
                a_second("recstream_ranking_candidates_total", "source"),
                Query(rate("recstream_ranking_source_failures_total", "source"), "{{source}} failed"),
            ),
        ),
        Panel(
            "Rules",
            "Rules of lists a second. missed: rules that could not hold, such as a pin of a withdrawn item.",
            "ops",
            (a_second("recstream_ranking_rules_total", "kind, result"),),
        ),
        Panel(
            "Histories",
            "Encoded by the model, or from the cache. dropped late: candidates that became ineligible meanwhile.",
            "ops",
            (
                a_second("recstream_ranking_histories_total", "from"),
                Query(rate("recstream_ranking_dropped_late_total"), "dropped late"),
            ),
        ),
        Panel(
            "Profiles",
            "announced: came with an announcement; unavailable: could not be read; store up: 1 if the store answers.",
            "short",
            (
                Query(rate("recstream_server_profiles_announced_total"), "announced"),
                Query(rate("recstream_server_profiles_unavailable_total"), "unavailable"),
                Query("min(recstream_server_store_up)", "store up"),
            ),
        ),
    ),
)


def _triton(duration: str) -> str:
    """Returns the mean of one of Triton's durations per request, in microseconds."""
    return (
        f"{rate(f'nv_inference_{duration}_duration_us', 'model, version')} / "
        f"{rate('nv_inference_request_success', 'model, version')}"
    )


_INDEX = PanelRow(
    "Catalogue and index",
    (
        Panel(
            "Age of the catalogue",
            "All records of the catalogue's topics that are older than this are applied.",
            "s",
            (Query("time() - recstream_catalog_current_timestamp_seconds", "{{job}} {{instance}}"),),
        ),
        Panel(
            "Size",
            "Known items, including withdrawn ones, and vectors of all versions, in the fullest process.",
            "short",
            (
                Query("max(recstream_catalog_items)", "items"),
                Query("max(recstream_catalog_vectors)", "vectors"),
                Query("min(recstream_catalog_ready)", "ready"),
            ),
        ),
        Panel(
            "Index by version",
            "Vectors in the graph, and vectors that each search scans in addition. Few vectors are all scanned.",
            "short",
            (largest("recstream_catalog_index_vectors", "version, place"),),
            Shape.STACK,
        ),
        Panel(
            "Recall of the graph",
            "Share of a scan's first hundred that the graph finds for the last searches' queries. Good: above .9.",
            "percentunit",
            (Query("min by (version) (recstream_catalog_index_recall)", legend("version")),),
        ),
        Panel(
            "Age of the graph",
            "Time since the graph was built or extended. No data while all vectors are scanned.",
            "s",
            (
                Query(
                    "time() - max by (version) (recstream_catalog_index_built_timestamp_seconds)",
                    legend("version"),
                ),
            ),
        ),
        Panel(
            "Building the graph",
            "Share of time in which a graph is built or extended. Searches go on meanwhile.",
            "percentunit",
            (
                Query(
                    "sum by (instance) (rate(recstream_catalog_merge_seconds_sum[$__rate_interval]))",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
_MODEL = PanelRow(
    "The model on Triton",
    (
        Panel(
            "Calls by graph, p99",
            "As servers and ingest measure them, including the network.",
            "s",
            (Query(quantile(0.99, "recstream_inference_call_seconds", "graph"), legend("graph")),),
        ),
        Panel(
            "Rows a call",
            "Mean number of rows in a call, by graph.",
            "short",
            (Query(mean("recstream_inference_call_rows", "graph"), legend("graph")),),
        ),
        Panel(
            "Calls without a usable answer",
            "By graph and reason. breaker: the call was not sent.",
            "ops",
            (
                a_second("recstream_inference_call_failures_total", "graph, reason"),
                Query("max by (graph) (recstream_inference_breaker_open)", "{{graph}} breaker open"),
            ),
        ),
        Panel(
            "Triton: time in the queue",
            "Mean wait of a request for its batch, by model. If it is as long as the compute time, add replicas.",
            "µs",
            (Query(_triton("queue"), legend("model, version")),),
        ),
        Panel(
            "Triton: compute time",
            "Mean compute time of a request, by model.",
            "µs",
            (
                Query(_triton("compute_infer"), legend("model, version")),
                Query(_triton("compute_input"), legend("model, version") + " input"),
                Query(_triton("compute_output"), legend("model, version") + " output"),
                Query(_triton("request"), legend("model, version") + " total"),
            ),
        ),
        Panel(
            "Triton: requests",
            "Answered and failed requests, and those that wait now.",
            "reqps",
            (
                a_second("nv_inference_request_success", "model, version"),
                Query(
                    f"sum by (model, reason) (rate(nv_inference_request_failure[{STEP}]))",
                    "{{model}} failed: {{reason}}",
                ),
                Query("sum by (model) (nv_inference_pending_request_count)", "{{model}} waiting"),
            ),
        ),
        Panel(
            "Triton: rows an execution",
            "How many rows Triton computes at once.",
            "short",
            (
                Query(
                    f"{rate('nv_inference_count', 'model')} / {rate('nv_inference_exec_count', 'model')}",
                    legend("model"),
                ),
            ),
        ),
    ),
)
SERVING = Dashboard(
    "recstream-serving",
    "recstream: serving",
    "Calls, streams, how lists are made, the index, and the model on Triton.",
    (_CALLS, _STREAMS, _LISTS, _INDEX, _MODEL),
)
