"""Pictures of results: bars with intervals, as SVG by hand, readable on light and on dark paper."""

from collections.abc import Sequence
from html import escape

from models.evaluation.results import Result

_LABEL, _CHART, _VALUE, _ROW, _HEAD = 170, 380, 120, 24, 40
_OURS, _OTHERS, _INK = "#2563eb", "#9ca3af", "#6b7280"


def ndcg_chart(results: Sequence[Result], figure: str = "ndcg@10") -> str:
    """One panel a protocol, a bar a row, and the interval of 95 % on it."""
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
