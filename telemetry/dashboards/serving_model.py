"""The lower half of the dashboard of the servers: the index, and the model on Triton."""

from telemetry.dashboards.panels import Panel, PanelRow, Query, Shape
from telemetry.dashboards.queries import STEP, a_second, largest, legend, mean, quantile, rate


def _triton(duration: str) -> str:
    """The mean of one of Triton's durations a request, in microseconds."""
    return (
        f"{rate(f'nv_inference_{duration}_duration_us', 'model, version')} / "
        f"{rate('nv_inference_request_success', 'model, version')}"
    )


INDEX = PanelRow(
    "Catalogue and index",
    (
        Panel(
            "Age of the catalogue",
            "How far back the newest moment lies of which it is known that all records before are applied.",
            "s",
            (Query("time() - recstream_catalog_current_timestamp_seconds", "{{job}} {{instance}}"),),
        ),
        Panel(
            "Size",
            "Items known, withdrawn ones included, and vectors of all versions, in the fullest process.",
            "short",
            (
                Query("max(recstream_catalog_items)", "items"),
                Query("max(recstream_catalog_vectors)", "vectors"),
                Query("min(recstream_catalog_ready)", "ready"),
            ),
        ),
        Panel(
            "Index by version",
            "Vectors in the graph, and those that each search scans beside it. All are scanned while there are few.",
            "short",
            (largest("recstream_catalog_index_vectors", "version, place"),),
            Shape.STACK,
        ),
        Panel(
            "Age of the graph",
            "Since the graph was built or extended last; nothing while all vectors are scanned.",
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
            "Share of the time that a graph is being built or extended; it runs beside searches.",
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
MODEL = PanelRow(
    "The model on Triton",
    (
        Panel(
            "Calls by graph, p99",
            "As servers and ingest see them, network included.",
            "s",
            (Query(quantile(0.99, "recstream_inference_call_seconds", "graph"), legend("graph")),),
        ),
        Panel(
            "Rows a call",
            "Mean rows of a call, by graph.",
            "short",
            (Query(mean("recstream_inference_call_rows", "graph"), legend("graph")),),
        ),
        Panel(
            "Calls without a usable answer",
            "By graph and reason; breaker: not even tried.",
            "ops",
            (
                a_second("recstream_inference_call_failures_total", "graph, reason"),
                Query("max by (graph) (recstream_inference_breaker_open)", "{{graph}} breaker open"),
            ),
        ),
        Panel(
            "Triton: time in the queue",
            "Mean wait of a request for its batch, by model. As long as computing: more replicas.",
            "µs",
            (Query(_triton("queue"), legend("model, version")),),
        ),
        Panel(
            "Triton: time of computing",
            "Mean of a request's computing, by model.",
            "µs",
            (
                Query(_triton("compute_infer"), legend("model, version")),
                Query(_triton("compute_input"), legend("model, version") + " input"),
                Query(_triton("compute_output"), legend("model, version") + " output"),
                Query(_triton("request"), legend("model, version") + " all in all"),
            ),
        ),
        Panel(
            "Triton: requests",
            "Answered and failed, and those that wait now.",
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
