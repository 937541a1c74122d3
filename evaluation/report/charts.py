"""Charts of results as SVG, readable on light and dark backgrounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from evaluation.report.results import Result

_LABEL, _CHART, _VALUE, _ROW, _HEAD = 170, 380, 120, 24, 40
_OURS, _OTHERS, _INK = "#2563eb", "#9ca3af", "#6b7280"


def ndcg_chart(results: Sequence[Result], figure: str = "ndcg@10") -> str:
    """A bar chart with one panel per protocol, and one bar with its 95 % interval per method."""
    parts: list[str] = []
    top = 0
    for result in results:
        parts += _panel(result, figure, top)
        top += _HEAD + _ROW * len(result.rows) + 16
    width = _LABEL + _CHART + _VALUE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" '
            f'font-family="system-ui, sans-serif" font-size="13" role="img">',
            f"<title>{escape(figure.upper())} with intervals of 95 %</title>",
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(result: Result, figure: str, top: int) -> list[str]:
    most = max((row.intervals[figure][1] for row in result.rows), default=0.0) or 1.0

    def x(value: float) -> float:
        return round(_LABEL + value / most * _CHART, 1)

    title = f"{result.protocol}: {figure.upper()}"
    parts = [f'<text x="0" y="{top + 22}" fill="{_INK}" font-weight="600">{escape(title)}</text>']
    for place, row in enumerate(result.rows):
        middle = top + _HEAD + place * _ROW + _ROW // 2
        value, (low, high) = row.figures[figure], row.intervals[figure]
        color = _OURS if row.product else _OTHERS
        parts += [
            f'<text x="{_LABEL - 8}" y="{middle + 4}" text-anchor="end" fill="{_INK}">{escape(row.name)}</text>',
            f'<rect x="{_LABEL}" y="{middle - 8}" width="{round(x(value) - _LABEL, 1)}" height="16" rx="2" '
            f'fill="{color}" fill-opacity="0.75"/>',
            f'<path d="M{x(low)} {middle}H{x(high)}M{x(low)} {middle - 4}v8M{x(high)} {middle - 4}v8" '
            f'stroke="{_INK}" fill="none"/>',
            f'<text x="{_LABEL + _CHART + 10}" y="{middle + 4}" fill="{_INK}">{value:.4f}</text>',
        ]
    return parts


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart. Its points are (x, y), in ascending x."""

    name: str
    points: Sequence[tuple[float, float]]


def curve_chart(title: str, curves: Sequence[Curve]) -> str:
    """A line chart whose axes start at zero. Each line has its name at its end. The first one is highlighted."""
    across, high, left, right, head, foot = 420, 240, 52, 210, 36, 30
    most_x = max((x for curve in curves for x, _ in curve.points), default=0) or 1
    most_y = max((y for curve in curves for _, y in curve.points), default=0) or 1

    def at(x: float, y: float) -> tuple[float, float]:
        return round(left + x / most_x * across, 1), round(head + (1 - y / most_y) * high, 1)

    parts = [f'<text x="0" y="18" fill="{_INK}" font-weight="600">{escape(title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = at(0, share * most_y)[1]
        parts += [
            f'<path d="M{left} {y}h{across}" stroke="{_OTHERS}" stroke-opacity="0.35"/>',
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end" fill="{_INK}">{share * most_y:.3f}</text>',
        ]
    for x in dict.fromkeys(x for curve in curves for x, _ in curve.points):
        parts.append(
            f'<text x="{at(x, 0)[0]}" y="{head + high + 18}" text-anchor="middle" fill="{_INK}">{x:g}</text>'
        )
    # Names that would overlap are moved apart, from the highest down.
    last = -1e9
    for place, curve in sorted(enumerate(curves), key=lambda pair: -pair[1].points[-1][1]):
        color, dash = (
            (_OURS, "") if place == 0 else (_OTHERS, f' stroke-dasharray="{2 + 2 * place} {1 + place}"')
        )
        line = "L".join(f"{x} {y}" for x, y in (at(*point) for point in curve.points))
        x, y = at(*curve.points[-1])
        last = max(y + 4, last + 15)
        parts += [
            f'<path d="M{line}" fill="none" stroke="{color}" stroke-width="2"{dash}/>',
            f'<text x="{x + 8}" y="{last}" fill="{_INK}">{escape(curve.name)}, {curve.points[-1][1]:.4f}</text>',
        ]
    width, height = left + across + right, head + high + foot
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="system-ui, sans-serif" font-size="13" role="img">',
            f"<title>{escape(title)}</title>",
            *parts,
            "</svg>",
            "",
        ]
    )
