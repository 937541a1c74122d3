"""The dashboard of the model's quality as users show it."""

from telemetry.dashboards.panels import Dashboard, Panel, PanelRow, Query, Shape
from telemetry.dashboards.queries import a_second, largest, legend, summed

_HOUR = "1h"


def _grown(counter: str, by: str, over: str, ago: str = "") -> str:
    return summed(f"increase({counter}[{over}]{f' offset {ago}' if ago else ''})", by)


def click_through(by: str = "", over: str = _HOUR) -> str:
    """Responses through impressions, by labels."""
    return (
        f"{_grown('recstream_quality_responses_total', by, over)} / "
        f"{_grown('recstream_quality_impressions_total', by, over)}"
    )


def calibration(by: str, over: str = _HOUR, ago: str = "") -> str:
    """What happened through what the ranker expected, by labels; 1: as expected."""
    return (
        f"{_grown('recstream_quality_observed_actions_total', by, over, ago)} / "
        f"{_grown('recstream_quality_expected_actions_total', by, over, ago)}"
    )


QUALITY = Dashboard(
    "recstream-quality",
    "recstream: model quality online",
    "What users make of the lists that they see. It needs clients that report impressions and name the list in what "
    "they record: `slate_id`. Versions on trial stand side by side; places are no experiment: what stands on top is "
    "seen more and chosen more.",
    (
        PanelRow(
            "Click-through",
            (
                Panel(
                    "Click-through",
                    "Seen places whose item got a positive action, through seen places, over an hour.",
                    "percentunit",
                    (Query(click_through(), "all"),),
                    Shape.NUMBER,
                    6,
                ),
                Panel(
                    "By version",
                    "The same by the model version that made the list; 0: no model had a part in it.",
                    "percentunit",
                    (Query(click_through("version"), legend("version")),),
                    width=9,
                ),
                Panel(
                    "By surface",
                    "The same by the surface that shows the list.",
                    "percentunit",
                    (Query(click_through("surface"), legend("surface")),),
                    width=9,
                ),
                Panel(
                    "By position",
                    "The same by the place on the list, 0 at the top. It falls with the place; how steeply should not "
                    "change by itself.",
                    "percentunit",
                    (Query(click_through("position"), legend("position")),),
                    width=12,
                ),
                Panel(
                    "By surface and version",
                    "Where a version on trial differs from the one before.",
                    "percentunit",
                    (Query(click_through("surface, version"), legend("surface, version")),),
                    width=12,
                ),
            ),
        ),
        PanelRow(
            "Calibration",
            (
                Panel(
                    "Observed through expected, by action",
                    "Actions on seen places through the sum of the ranker's probabilities of them. The level need not "
                    "be 1, since the ranker learned from lists of another kind; that it moves is the news.",
                    "short",
                    (Query(calibration("action, version"), legend("action, version")),),
                    width=12,
                ),
                Panel(
                    "Drift",
                    "That ratio over six hours through the same over the week before. 1: no drift.",
                    "short",
                    (
                        Query(
                            f"({calibration('action, version', '6h')})"
                            f" / ({calibration('action, version', '7d', '6h')})",
                            legend("action, version"),
                        ),
                    ),
                    width=12,
                ),
            ),
        ),
        PanelRow(
            "What it rests on",
            (
                Panel(
                    "Impressions a second",
                    "Seen positions, by surface. None: clients do not report impressions.",
                    "ops",
                    (a_second("recstream_quality_impressions_total", "surface"),),
                    Shape.STACK,
                ),
                Panel(
                    "Positions sent a second",
                    "Positions of slates that were sent, seen or not, by surface.",
                    "ops",
                    (a_second("recstream_quality_sent_total", "surface"),),
                    Shape.STACK,
                ),
                Panel(
                    "Events by whether they could be joined",
                    "no_slate: it names none; no_impression: an action without one; unknown_slate: not in memory.",
                    "ops",
                    (a_second("recstream_quality_events_total", "outcome"),),
                    Shape.STACK,
                ),
                Panel(
                    "Slates in memory",
                    "By process; `ingest.quality_slates` at most.",
                    "short",
                    (Query("recstream_quality_slates_in_memory", "{{instance}}"),),
                ),
                Panel(
                    "Lists by tier",
                    "Lists below the best tier are worse ones.",
                    "ops",
                    (a_second("recstream_ranking_lists_total", "tier"),),
                    Shape.STACK,
                ),
                Panel(
                    "Share of users by version",
                    "Who is on trial.",
                    "percentunit",
                    (largest("recstream_server_model_share", "version"),),
                ),
            ),
        ),
    ),
)
