"""Rules in the settings of a surface."""

from functools import lru_cache
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from catalog.errors import BadFilterText
from catalog.filters import filter_check
from catalog.filters.filter_text import parse
from ranking.rules.check import problems
from recstream.v1 import filter_pb2, rules_pb2


@lru_cache(maxsize=2_048)
def _filter(text: str) -> filter_pb2.Filter:
    """Parses a filter once. Checking and using one needs it several times, and a new version of the surfaces has most
    filters of the one before. Messages copy it."""
    return parse(text)


def _parseable(text: str) -> str:
    try:
        wrong = filter_check.problems(_filter(text))
    except BadFilterText as error:
        raise ValueError(f"{text!r} is not a filter: {error}") from error
    if wrong:
        raise ValueError(f"{text!r}: {'; '.join(f'{path} {problem}' for path, problem in wrong)}")
    return text


FilterText = Annotated[str, AfterValidator(_parseable)]


class _Windowed(BaseModel):
    """A rule, and when it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_time: AwareDatetime | None = Field(
        default=None, description="The first moment at which it holds, with its time zone. None: always"
    )
    end_time: AwareDatetime | None = Field(
        default=None, description="The first moment at which it holds no more. None: never"
    )

    def window(self) -> rules_pb2.TimeWindow | None:
        """The window as a message. None: it always holds."""
        if self.start_time is None and self.end_time is None:
            return None
        window = rules_pb2.TimeWindow()
        if self.start_time is not None:
            window.start_time.FromDatetime(self.start_time)
        if self.end_time is not None:
            window.end_time.FromDatetime(self.end_time)
        return window


class BoostSettings(_Windowed):
    """See `recstream.v1.Boost`."""

    name: str = Field(description="Its name, which reasons give")
    filter: FilterText = Field(description="Which items it moves, such as `category = drama`")
    strength: float = Field(description="Standard deviations of the scores, -10 to 10; negative: down")


class PinSettings(_Windowed):
    """See `recstream.v1.Pin`."""

    item_id: str = Field(description="The item")
    position: int = Field(description="Its position, from 0")


class PromotionSettings(_Windowed):
    """See `recstream.v1.Promotion`."""

    name: str = Field(description="Its name, which reasons give")
    filter: FilterText = Field(description="Which items it promotes, such as `attributes.brand = ours`")
    share: float = Field(description="Share of the list that they have at least, 0 to 1")


class CapSettings(_Windowed):
    """See `recstream.v1.Cap`."""

    field: str = Field(description="`category` or `attributes.NAME`")
    most: int | None = Field(default=None, description="Most items of one value, or else `share`")
    share: float | None = Field(default=None, description="Largest share of one value, or else `most`")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.most is not None and self.share is not None:
            raise ValueError("set either most or share")
        return self


class RotationSettings(BaseModel):
    """See `recstream.v1.Rotation`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(
        default=0,
        description="Standard deviations of the scores that an item loses after one impression without an action, "
        "0 to 10. n impressions cost log2(1 + n) times as much",
    )
    hours: float = Field(default=24, gt=0, le=90 * 24, description="For how many hours an impression counts")


class RulesSettings(BaseModel):
    """The rules of a surface. See `recstream.v1.ListRules`. `ranking.rules.check` says what is valid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    boosts: tuple[BoostSettings, ...] = Field(
        default=(), description="Raise or lower items that match a filter"
    )
    pins: tuple[PinSettings, ...] = Field(default=(), description="Put items at positions")
    promotions: tuple[PromotionSettings, ...] = Field(
        default=(), description="Reserve positions for items that match a filter; earlier ones go first"
    )
    caps: tuple[CapSettings, ...] = Field(
        default=(), description="Limit how many items have one category or one value of an attribute"
    )
    diversity: float = Field(
        default=0, description="How much an item that resembles those above it sinks, 0 to 1"
    )
    rotation: RotationSettings = Field(
        default=RotationSettings(), description="How items sink that were shown and not acted on"
    )
    owner_field: str = Field(
        default="",
        description="`attributes.NAME` of the attribute that names the owners of an item, whose lists leave it out",
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if found := list(problems(_to_message(self))):
            raise ValueError("; ".join(f"{field} {problem}" for field, problem in found))
        return self

    def message(self) -> rules_pb2.ListRules | None:
        """The rules as a message. None: there are none."""
        message = _to_message(self)
        return message if message.ByteSize() else None


def _to_message(settings: RulesSettings) -> rules_pb2.ListRules:
    message = rules_pb2.ListRules(
        boosts=[
            rules_pb2.Boost(
                name=each.name, filter=_filter(each.filter), strength=each.strength, window=each.window()
            )
            for each in settings.boosts
        ],
        pins=[
            rules_pb2.Pin(item_id=each.item_id, position=each.position, window=each.window())
            for each in settings.pins
        ],
        promotions=[
            rules_pb2.Promotion(
                name=each.name, filter=_filter(each.filter), share=each.share, window=each.window()
            )
            for each in settings.promotions
        ],
        caps=[rules_pb2.Cap(field=each.field, window=each.window()) for each in settings.caps],
        owner_field=settings.owner_field,
    )
    for cap, given in zip(message.caps, settings.caps, strict=True):
        if given.most is not None:
            cap.most = given.most
        if given.share is not None:
            cap.share = given.share
    if settings.diversity:
        message.diversity = settings.diversity
    if settings.rotation.strength:
        message.rotation.strength = settings.rotation.strength
        message.rotation.period.FromMilliseconds(round(settings.rotation.hours * 3_600_000))
    return message
