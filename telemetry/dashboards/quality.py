"""The dashboard of online quality: click-through and calibration."""

from telemetry.dashboards.panels import Dashboard, Panel, PanelRow, Query, Shape
from telemetry.dashboards.queries import a_second, largest, legend, summed

_HOUR = "1h"


def _grown(counter: str, by: str, over: str, ago: str = "") -> str:
    return summed(f"increase({counter}[{over}]{f' offset {ago}' if ago else ''})", by)


def click_through(by: str = "", over: str = _HOUR) -> str:
    """Returns responses divided by impressions, by labels."""
    return (
        f"{_grown('recstream_quality_responses_total', by, over)} / "
        f"{_grown('recstream_quality_impressions_total', by, over)}"
    )


def calibration(by: str, over: str = _HOUR, ago: str = "") -> str:
    """Returns observed actions divided by those that the ranker expected, by labels. 1: as expected."""
    return (
        f"{_grown('recstream_quality_observed_actions_total', by, over, ago)} / "
        f"{_grown('recstream_quality_expected_actions_total', by, over, ago)}"
    )


QUALITY = Dashboard(
    "recstream-quality",
    "recstream: model quality online",
    "How users respond to the lists that they see. Clients have to report impressions, and to send `slate_id` with "
    "every event. Compare versions with each other, but not positions: items at the top are seen and chosen more.",
    (
        PanelRow(
            "Click-through",
            (
                Panel(
                    "Click-through",
                    "Share of seen positions whose item got a positive action, over an hour.",
                    "percentunit",
                    (Query(click_through(), "all"),),
                    Shape.NUMBER,
                    6,
                ),
                Panel(
                    "By version",
                    "The same by the model version that made the list; 0: no model was used.",
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
                    "The same by the position on the list, 0 at the top. It falls with the position. The slope should "
                    "stay the same.",
                    "percentunit",
                    (Query(click_through("position"), legend("position")),),
                    width=12,
                ),
                Panel(
                    "By surface and version",
                    "On which surfaces a new version differs from the one before.",
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
                    "Observed divided by expected, by action",
                    "Actions on seen positions, divided by the sum of the ranker's probabilities of them. The level "
                    "need not be 1, since the ranker learned from other lists. Watch for changes.",
                    "short",
                    (Query(calibration("action, version"), legend("action, version")),),
                    width=12,
                ),
                Panel(
                    "Drift",
                    "That ratio over six hours, divided by the ratio over the week before. 1: no drift.",
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
            "Data",
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
                    "Positions of sent slates, seen or not, by surface.",
                    "ops",
                    (a_second("recstream_quality_sent_total", "surface"),),
                    Shape.STACK,
                ),
                Panel(
                    "Events by outcome of the join",
                    "no_slate: the event names none; no_impression: an action without an impression; unknown_slate: "
                    "not in memory; other_user: another user got the slate.",
                    "ops",
                    (a_second("recstream_quality_events_total", "outcome"),),
                    Shape.STACK,
                ),
                Panel(
                    "Slates in memory",
                    "Slates in memory, by process. `ingest.quality_slates` at most.",
                    "short",
                    (Query("recstream_quality_slates_in_memory", "{{instance}}"),),
                ),
                Panel(
                    "Lists by tier",
                    "Lists of a lower tier than `ranked` are worse.",
                    "ops",
                    (a_second("recstream_ranking_lists_total", "tier"),),
                    Shape.STACK,
                ),
                Panel(
                    "Share of users by version",
                    "How many users get each version.",
                    "percentunit",
                    (largest("recstream_server_model_share", "version"),),
                ),
            ),
        ),
    ),
)
