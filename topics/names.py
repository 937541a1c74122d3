"""The names of the topics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the topics of one installation: the prefix, then the topic's own name."""

    prefix: str = ""

    @property
    def interactions(self) -> str:
        """What users did; key: user id."""
        return self.prefix + "interactions"

    @property
    def interactions_dead_letter(self) -> str:
        """Interactions that cannot be applied; key: their origin; headers: the reason."""
        return self.prefix + "interactions.dead-letter"

    @property
    def items(self) -> str:
        """What can be recommended, compacted; key: item id."""
        return self.prefix + "items"

    @property
    def items_dead_letter(self) -> str:
        """Items that cannot be used; key: their origin; headers: the reason."""
        return self.prefix + "items.dead-letter"

    @property
    def item_vectors(self) -> str:
        """Vectors by model version and item, compacted; key: `<model version>/<item id>`."""
        return self.prefix + "item-vectors"

    @property
    def item_stats(self) -> str:
        """How often items were acted on, compacted; key: `<partition of interactions>/<item id>`."""
        return self.prefix + "item-stats"

    @property
    def model_versions(self) -> str:
        """Which model versions are served, compacted; one key, `served`."""
        return self.prefix + "model-versions"

    @property
    def slates(self) -> str:
        """Slates as they were sent; key: user id."""
        return self.prefix + "slates"

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic, interactions first."""
        return (
            self.interactions,
            self.interactions_dead_letter,
            self.items,
            self.items_dead_letter,
            self.item_vectors,
            self.item_stats,
            self.model_versions,
            self.slates,
        )
