"""The values of metrics' labels. They are bounded, whatever clients send.

Each module of metrics lists in `LABEL_VALUES` the values of each label of its metrics. docs/metrics.md prints them, and
a test checks them against a real run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from prometheus_client.metrics import MetricWrapperBase

NO_VERSION: Final = "0"
"""The label of a model version if no model was used."""
OTHER: Final = "other"
"""The label of an unknown model version, or of an unknown surface of a slate."""


@dataclass(frozen=True, slots=True)
class LabelValues:
    """The values that one label of one metric takes.

    Attributes:
        values: The values that the code names.
        more: Further values, in words. Settings, Kafka, or the number of live versions bound them.
        pattern: A regular expression for the further values.
    """

    values: tuple[str, ...] = ()
    more: str = ""
    pattern: str = ""

    def holds(self, value: str) -> bool:
        """Returns whether the label may have this value."""
        return value in self.values or bool(self.pattern and re.fullmatch(self.pattern, value))

    def __str__(self) -> str:
        named = [f"`{value}`" for value in self.values]
        return ", ".join([*named, *([self.more] if self.more else [])])


LabelValuesOf: TypeAlias = Mapping[tuple[MetricWrapperBase, str], LabelValues]
"""The values by metric and label."""

LIVE_VERSIONS: Final = LabelValues((), "live versions, two at most", r"\d+")
ANSWERING_VERSIONS: Final = LabelValues((NO_VERSION, OTHER), "live versions, two at most", r"\d+")
SURFACES: Final = LabelValues((), "surfaces in force", r"[\w.-]+")
SLATE_SURFACES: Final = LabelValues((OTHER,), SURFACES.more, SURFACES.pattern)
"""Surfaces of slates on their topic. A server with other surfaces may have sent them."""
PARTITIONS: Final = LabelValues((), "partitions that the process holds", r"\d+")
ACTIONS: Final = LabelValues((), "actions of the settings", r"[\w.-]+")
