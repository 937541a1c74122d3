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
    "From Kafka to profiles, item vectors and statistics: lag, stages, failures, the store.",
    (
        PanelRow(
            "Events",
            (
                Panel(
                    "Records a second",
                    "applied: with effect; no_effect: a repeat, or too late; duplicate: applied before; rejected: a "
                    "dead letter; later_kind: passed over, because only a later release knows what it is.",
                    "ops",
                    (a_second("recstream_ingest_records_total", "outcome"),),
                    Shape.STACK,
                ),
                Panel(
                    "Lag in records",
                    "Records not applied yet, by partition. KEDA scales on the lag of the consumer group.",
                    "short",
                    (total("recstream_ingest_lag_records", "partition"),),
                ),
                Panel(
                    "Lag in seconds",
                    "How long the oldest record not applied yet has been in Kafka. It grows while a batch is stuck.",
                    "s",
                    (largest("recstream_ingest_lag_seconds", "partition"),),
                ),
                Panel(
                    "From Kafka to the written profile",
                    "Age of a batch's oldest record when the store acknowledged the write of its profile.",
                    "s",
                    quantiles("recstream_ingest_record_age_seconds", 0.5, 0.99),
                ),
                Panel(
                    "Records a batch",
                    "Large batches: events come fast, and ingest keeps up by applying more of them at once.",
                    "short",
                    (
                        Query(mean("recstream_ingest_batch_records"), "mean"),
                        *quantiles("recstream_ingest_batch_records", 0.99),
                    ),
                ),
                Panel(
                    "Partitions held",
                    "The sum should be the number of partitions of `interactions`. Less: some are not read.",
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
                    "Applied batches.",
                    "ops",
                    (Query(rate("recstream_ingest_stage_seconds_count", where='stage="batch"'), "batches"),),
                ),
                Panel(
                    "Duration by stage, mean",
                    "read: profiles from the store; fold: arithmetic; model: Triton; write: to the store; batch: all "
                    "of it.",
                    "s",
                    (Query(mean("recstream_ingest_stage_seconds", "stage"), legend("stage")),),
                ),
                Panel(
                    "Duration by stage, p99",
                    "A batch waits for the model for 50 ms at most (ingest.model_budget_ms).",
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
            "Failures",
            (
                Panel(
                    "Dead letters a second",
                    "Records that cannot be used, by source and reason. Good: 0. By message: those that were read "
                    "without fields which this release does not know; the log names the fields. "
                    "clocks ahead: interactions that are applied with the time of their record.",
                    "ops",
                    (
                        a_second("recstream_ingest_dead_letters_total", "source, reason"),
                        a_second("recstream_unknown_fields_total", "message"),
                        Query(rate("recstream_ingest_clocks_ahead_total"), "clocks ahead"),
                    ),
                ),
                Panel(
                    "Batches tried again",
                    "store: no answer; contention: others write the same profiles; dead_letter: one was not written; "
                    "error: a bug in ingest. abandoned: left to the next owner.",
                    "ops",
                    (
                        a_second("recstream_ingest_batch_retries_total", "cause"),
                        Query(rate("recstream_ingest_batches_abandoned_total"), "abandoned"),
                    ),
                ),
                Panel(
                    "Refused writes",
                    "Share of profile writes that the fence refused because another write came first. They are "
                    "folded again.",
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
                    "Counted once for each profile and attempt.",
                    "ops",
                    (a_second("recstream_ingest_writes_refused_total"),),
                ),
                Panel(
                    "Offsets",
                    "Failed commits; partitions rewound because the store changed; records deleted unread.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_commit_failures_total"), "commits failed"),
                        Query(rate("recstream_ingest_rewinds_total"), "rewound"),
                        Query(rate("recstream_ingest_lost_records_total"), "records lost"),
                    ),
                ),
                Panel(
                    "Restarts after failures",
                    "Workers of ingest, and background tasks of servers and ingest.",
                    "ops",
                    (
                        a_second("recstream_ingest_worker_restarts_total", "worker"),
                        a_second("recstream_background_restarts_total", "task"),
                    ),
                ),
                Panel(
                    "Faults held back",
                    "Exceptions that nobody expects, by where servers and ingest held them back.",
                    "ops",
                    (a_second("recstream_faults_total", "boundary"),),
                ),
            ),
        ),
        PanelRow(
            "Profiles and their model states",
            (
                Panel(
                    "Profiles by source",
                    "cache: this process wrote the profile last; store: the profile was read.",
                    "ops",
                    (a_second("recstream_ingest_profiles_total", "source"),),
                    Shape.STACK,
                ),
                Panel(
                    "Size of profiles",
                    "Bytes of a stored profile without its tail. With two live versions it holds two states.",
                    "bytes",
                    quantiles("recstream_profiles_written_bytes", 0.5, 0.99),
                ),
                Panel(
                    "Model states written",
                    "step: one event; fold: the whole history; stale: the model did not answer, to be folded later.",
                    "ops",
                    (a_second("recstream_ingest_states_total", "how"),),
                    Shape.STACK,
                ),
                Panel(
                    "Users who wait for the sweeper",
                    "Users with stale states. Falls to 0 when Triton answers.",
                    "short",
                    (total("recstream_ingest_stale_users"),),
                ),
                Panel(
                    "Refolded and migrated",
                    "States that the sweeper refolded; profiles that got a state of a new model version.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_refolded_total"), "refolded"),
                        Query(rate("recstream_ingest_profiles_migrated_total"), "migrated"),
                    ),
                ),
                Panel(
                    "Migration to a new model version",
                    "1 while the scan of the store runs and has found profiles without a state of a live version.",
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
                    "Items that got a vector; items whose vector was up to date; unreadable media.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_items_embedded_total"), "embedded"),
                        Query(rate("recstream_ingest_items_unchanged_total"), "unchanged"),
                        Query(rate("recstream_ingest_media_unreadable_total"), "media unreadable"),
                    ),
                ),
                Panel(
                    "Changes of items",
                    "By outcome, and items that were written again after an older record of another producer.",
                    "ops",
                    (
                        a_second("recstream_ingest_item_changes_total", "outcome"),
                        Query(rate("recstream_ingest_items_corrected_total"), "written again"),
                        Query(rate("recstream_ingest_item_changes_lost_total"), "lost"),
                    ),
                ),
                Panel(
                    "Positive events counted",
                    "Into item statistics. uncounted: new items beyond ingest.statistics_keys.",
                    "ops",
                    (
                        Query(rate("recstream_ingest_positives_counted_total"), "counted"),
                        Query(rate("recstream_ingest_positives_uncounted_total"), "uncounted"),
                    ),
                ),
                Panel(
                    "Catalogue records",
                    "Records that servers and ingest read from the catalogue's topics, and unusable ones, which they "
                    "skip.",
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
                    "Requests of servers and ingest, by operation.",
                    "reqps",
                    (a_second("recstream_profiles_store_requests_total", "operation"),),
                ),
                Panel(
                    "Requests that failed",
                    "error: the store refused it; unavailable: no answer; not_sent: the store was known to be down.",
                    "reqps",
                    (
                        a_second(
                            "recstream_profiles_store_requests_total", "operation, outcome", 'outcome!="ok"'
                        ),
                    ),
                ),
                Panel(
                    "Duration, p99",
                    "Duration of requests to the store, by operation.",
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
                    "unannounced: written, but streams see it only when they poll.",
                    "ops",
                    (a_second("recstream_profiles_writes_total", "outcome"),),
                ),
                Panel(
                    "Anomalies of the store",
                    "Unreadable values, renewed connections, and scripts that were sent again after a restart.",
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
