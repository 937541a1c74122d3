"""The dashboard of ingest: from Kafka to profiles, vectors and statistics."""

from telemetry.dashboards.panels import Dashboard, Panel, PanelRow, Query, Shape
from telemetry.dashboards.queries import (
    a_second,
    largest,
    legend,
    mean,
    quantile,
    quantiles,
    rate,
    share,
    total,
)

INGEST = Dashboard(
    "recstream-ingest",
    "recstream: ingest",
    "From Kafka to profiles, item vectors and statistics: lag, stages, refusals, the store.",
    (
        PanelRow(
            "Events",
            (
                Panel(
                    "Records a second",
                    "applied: with effect; passed: a repeat or too late; before: read again; refused: a dead letter.",
                    "ops",
                    (a_second("recstream_ingest_records_total", "outcome"),),
                    Shape.STACK,
                ),
                Panel(
                    "Lag in records",
                    "Records not yet applied, by partition. KEDA scales on the same figure of the consumer group.",
                    "short",
                    (total("recstream_ingest_lag_records", "partition"),),
                ),
                Panel(
                    "Lag in seconds",
                    "How long the oldest record not yet applied has lain in Kafka. It grows while a batch is stuck.",
                    "s",
                    (largest("recstream_ingest_lag_seconds", "partition"),),
                ),
                Panel(
                    "From Kafka to the written profile",
                    "Age of the oldest record of a batch when its profile's write was acknowledged.",
                    "s",
                    quantiles("recstream_ingest_record_age_seconds", 0.5, 0.99),
                ),
                Panel(
                    "Records a batch",
                    "Many: events come faster than single batches are done; that is how ingest keeps up.",
                    "short",
                    (
                        Query(mean("recstream_ingest_batch_records"), "mean"),
                        *quantiles("recstream_ingest_batch_records", 0.99),
                    ),
                ),
                Panel(
                    "Partitions held",
                    "The sum is the number of partitions of `interactions`; less: nobody reads some of them.",
                    "short",
                    (
                        Query("recstream_ingest_assigned_partitions", "{{instance}}"),
                        Query("sum(recstream_ingest_assigned_partitions)", "all"),
                    ),
                ),
            ),
        ),
        PanelRow(
            "Stages of a batch",
            (
                Panel(
                    "Batches a second",
                    "Batches that were applied.",
                    "ops",
                    (Query(rate("recstream_ingest_stage_seconds_count", where='stage="batch"'), "batches"),),
                ),
                Panel(
                    "Duration by stage, mean",
                    "read: profiles from the store; fold: arithmetic; model: Triton; write: to the store; batch: all.",
                    "s",
                    (Query(mean("recstream_ingest_stage_seconds", "stage"), legend("stage")),),
                ),
                Panel(
                    "Duration by stage, p99",
                    "The model is waited for 50 ms at most (ingest.model_budget_ms).",
                    "s",
                    (
                        Query(
                            quantile(0.99, "recstream_ingest_stage_seconds", "stage"),
                            legend("stage"),
                        ),
                    ),
                ),
            ),
        ),
        PanelRow(
            "What went wrong",
            (
                Panel(
                    "Dead letters a second",
                    "Records that cannot be used, by source and reason. Good: 0.",
                    "ops",
                    (a_second("recstream_ingest_dead_letters_total", "source, reason"),),
                ),
                Panel(
                    "Batches tried again",
                    "By cause: the store, a profile that others write too, dead letters unwritten, a fault of ours.",
                    "ops",
                    (
                        a_second("recstream_ingest_batch_retries_total", "cause"),
                        Query(rate("recstream_ingest_batches_abandoned_total"), "abandoned"),
                    ),
                ),
                Panel(
                    "Refused writes",
                    "Share of profile writes that the fence refused because another write was first. They fold again.",
                    "percentunit",
                    (
                        Query(
                            share(
                                "recstream_profiles_writes_total",
                                'outcome="refused"',
                                'outcome=~"refused|written"',
                            ),
                            "refused",
                        ),
                    ),
                ),
                Panel(
                    "Writes refused by the fence, in batches of events",
                    "Counted once for each profile and try.",
                    "ops",
                    (a_second("recstream_ingest_writes_refused_total"),),
                ),
                Panel(
                    "Offsets",
                    "Commits that failed; partitions rewound as the store changed; records deleted unread.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_commit_failures_total"), "commits failed"),
                        Query(rate("recstream_ingest_rewinds_total"), "rewound"),
                        Query(rate("recstream_ingest_lost_records_total"), "records lost"),
                    ),
                ),
                Panel(
                    "Started again after a failure",
                    "Workers of ingest, and what servers and ingest run in the background.",
                    "ops",
                    (
                        a_second("recstream_ingest_worker_restarts_total", "worker"),
                        a_second("recstream_background_restarts_total", "task"),
                    ),
                ),
            ),
        ),
        PanelRow(
            "Profiles and their model states",
            (
                Panel(
                    "Profiles by where they came from",
                    "cache: this process wrote it last; store: it was read.",
                    "ops",
                    (a_second("recstream_ingest_profiles_total", "source"),),
                    Shape.STACK,
                ),
                Panel(
                    "Size of profiles",
                    "Bytes of a stored profile without its tail; two live versions keep two states.",
                    "bytes",
                    quantiles("recstream_profiles_written_bytes", 0.5, 0.99),
                ),
                Panel(
                    "Model states written",
                    "step: one event; fold: the whole history; stale: without the model, to be folded later.",
                    "ops",
                    (a_second("recstream_ingest_states_total", "how"),),
                    Shape.STACK,
                ),
                Panel(
                    "Users waiting for the sweeper",
                    "Their states are stale. It goes to 0 when Triton is well.",
                    "short",
                    (total("recstream_ingest_stale_users"),),
                ),
                Panel(
                    "Refolded and migrated",
                    "States that the sweeper refolded; profiles that got their first state of a new model version.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_refolded_total"), "refolded"),
                        Query(rate("recstream_ingest_profiles_migrated_total"), "migrated"),
                    ),
                ),
                Panel(
                    "Migration to a new model version",
                    "1 while profiles lack a state of a live version, as far as the scan of the store has come.",
                    "short",
                    (
                        largest("recstream_ingest_profiles_migrating"),
                        Query("max by (version) (recstream_ingest_model_share)", "share of {{version}}"),
                    ),
                ),
            ),
        ),
        PanelRow(
            "Items and statistics",
            (
                Panel(
                    "Items embedded",
                    "Items that got a vector; items whose vector is up to date; media that cannot be read.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_items_embedded_total"), "embedded"),
                        Query(rate("recstream_ingest_items_unchanged_total"), "unchanged"),
                        Query(rate("recstream_ingest_media_unreadable_total"), "media unreadable"),
                    ),
                ),
                Panel(
                    "Positive events counted",
                    "Into item statistics; uncounted: of items past ingest.statistics_keys.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_positives_counted_total"), "counted"),
                        Query(rate("recstream_ingest_positives_uncounted_total"), "uncounted"),
                    ),
                ),
                Panel(
                    "Catalogue records",
                    "Read from the catalogue's topics by servers and ingest, and those skipped as unusable.",
                    "ops",
                    (
                        a_second("recstream_catalog_records_total", "topic"),
                        Query(rate("recstream_catalog_bad_records_total"), "unusable"),
                    ),
                ),
            ),
        ),
        PanelRow(
            "The store",
            (
                Panel(
                    "Requests a second",
                    "Of servers and ingest, by operation.",
                    "reqps",
                    (a_second("recstream_profiles_store_requests_total", "operation"),),
                ),
                Panel(
                    "Requests that failed",
                    "error: refused by the store; unavailable: no answer; not_sent: it was known to be down.",
                    "reqps",
                    (
                        a_second(
                            "recstream_profiles_store_requests_total", "operation, outcome", 'outcome!="ok"'
                        ),
                    ),
                ),
                Panel(
                    "Duration, p99",
                    "Of requests to the store, by operation.",
                    "s",
                    (
                        Query(
                            quantile(0.99, "recstream_profiles_store_seconds", "operation"),
                            legend("operation"),
                        ),
                    ),
                ),
                Panel(
                    "Writes by outcome",
                    "unannounced: written, and streams learn of it only when they look by themselves.",
                    "ops",
                    (a_second("recstream_profiles_writes_total", "outcome"),),
                ),
                Panel(
                    "Oddities of the store",
                    "Values that cannot be read, connections given up, scripts sent again after a restart.",
                    "ops",
                    (
                        Query(rate("recstream_profiles_corrupt_total"), "corrupt"),
                        Query(
                            rate("recstream_profiles_store_renewed_connections_total"), "connections renewed"
                        ),
                        Query(rate("recstream_profiles_script_reloads_total"), "scripts sent again"),
                    ),
                ),
            ),
        ),
    ),
)
