"""A chart of curves is well-formed, names each curve, and tells them apart."""

import re
from xml.etree import ElementTree

from evaluation.report.charts import Curve, curve_chart


def test_a_curve_is_drawn_from_its_first_point_to_its_last() -> None:
    picture = curve_chart(
        "a < b", [Curve("ours & theirs", [(2, 0.01), (4, 0.02)]), Curve("flat", [(2, 0.02), (4, 0.02)])]
    )
    root = ElementTree.fromstring(picture)
    texts = [text.text or "" for text in root.iter() if text.tag.endswith("text")]
    assert "a < b" in texts and "ours & theirs, 0.0200" in texts and "flat, 0.0200" in texts
    (rising, flat) = re.findall(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', picture)
    top, bottom = 36.0, 276.0
    assert (float(rising[1]), float(rising[3])) == ((top + bottom) / 2, top)
    assert float(flat[1]) == float(flat[3]) == top and float(rising[2]) == 52 + 420
    ends = sorted(float(y) for y in re.findall(r'y="([\d.]+)" fill="#6b7280">(?:ours|flat)', picture))
    assert ends[1] - ends[0] >= 15


def test_no_curves_make_an_empty_chart() -> None:
    assert ElementTree.fromstring(curve_chart("nothing yet", [])).tag.endswith("svg")
