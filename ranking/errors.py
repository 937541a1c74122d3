"""What can go wrong in ranking. A slow or dead model is not among it: the ladder answers that."""


class RankingError(Exception):
    """The root of this room's errors."""


class ItemUnknown(RankingError):
    """The catalogue does not know the item that others should be like."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"the catalogue knows no item {item_id!r}: put it first, or ask for another")
        self.item_id = item_id
