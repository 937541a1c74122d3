"""The names of the topics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the topics of one installation: the prefix, followed by the topic's own name."""

    prefix: str = ""

    @property
    def interactions(self) -> str:
        """Events of users. Key: user id."""
        return self.prefix + "interactions"

    @property
    def interactions_dead_letter(self) -> str:
        """Interactions that cannot be applied. Key: their origin. Headers: the reason."""
        return self.prefix + "interactions.dead-letter"

    @property
    def items(self) -> str:
        """Items, compacted. Key: item id."""
        return self.prefix + "items"

    @property
    def item_changes(self) -> str:
        """Changes of items that servers accepted, which ingest folds into `items`. Key: item id."""
        return self.prefix + "item-changes"

    @property
    def item_changes_group(self) -> str:
        """The consumer group that folds `item_changes`. What it has committed is in `items`."""
        return self.prefix + "recstream-items"

    @property
    def items_dead_letter(self) -> str:
        """Items that cannot be used. Key: their origin. Headers: the reason."""
        return self.prefix + "items.dead-letter"

    @property
    def item_vectors(self) -> str:
        """Vectors by model version and item, compacted. Key: `<model version>/<item id>`."""
        return self.prefix + "item-vectors"

    @property
    def item_stats(self) -> str:
        """How often items were acted on, compacted. Key: `<partition of interactions>/<item id>`."""
        return self.prefix + "item-stats"

    @property
    def model_versions(self) -> str:
        """The served model versions, compacted. The only key is `served`."""
        return self.prefix + "model-versions"

    @property
    def surfaces(self) -> str:
        """Versions of the surfaces, compacted. Key: the version."""
        return self.prefix + "surfaces"

    @property
    def slates(self) -> str:
        """Slates as they were sent. Key: user id."""
        return self.prefix + "slates"

    @property
    def all(self) -> tuple[str, ...]:
        """All topics, interactions first."""
        return (
            self.interactions,
            self.interactions_dead_letter,
            self.items,
            self.item_changes,
            self.items_dead_letter,
            self.item_vectors,
            self.item_stats,
            self.model_versions,
            self.surfaces,
            self.slates,
        )
