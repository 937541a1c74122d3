"""Mappings: turn the JSON records of other producers into interactions, by expressions in JMESPath (jmespath.org)."""

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, Final, TypeAlias

import jmespath
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from jmespath import functions
from jmespath.exceptions import JMESPathError
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from profiles.ready_mappings import READY
from recstream.v1.interaction_pb2 import Interaction

MOST_EVENTS: Final = 500
"""Events of one record at most."""
MOST_MAPPINGS: Final = 32
EACH: Final = "each"
"""The name under which expressions of fields find the element of `each`."""

_EXPRESSION: Final = 2_000
_MOST_ACTIONS: Final = 1_000
_NAME: Final = 40
_SHOWN: Final = 120

Document: TypeAlias = dict[str, Any]
"""A JSON object."""


class NotMapped(Exception):
    """A mapping takes a record but makes no event of it. The message names the mapping, and says why."""


class _Functions(functions.Functions):  # type: ignore[misc]  # jmespath ships no types
    """JMESPath's functions, and two for times, because the language has no arithmetic. They give milliseconds since
    1970 for a number, or for a text that holds one; null for anything else."""

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_from_seconds(self, value: object) -> float | None:
        return _scaled(value, 1)

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_from_microseconds(self, value: object) -> float | None:
        return _scaled(value, 1_000_000)


def _scaled(value: object, units_a_second: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        scaled = float(value) * 1_000 / units_a_second
    except (ValueError, OverflowError):
        return None
    return scaled if isfinite(scaled) else None


_OPTIONS: Final = jmespath.Options(custom_functions=_Functions())


def _valid(expression: str) -> str:
    """Checks an expression when the settings are read. jmespath itself looks functions up only when it calls them."""
    try:
        nodes = [jmespath.compile(expression).parsed]
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"not JMESPath: {error}") from error
    while nodes:
        node = nodes.pop()
        if node["type"] == "function_expression":
            _check_call(node["value"], len(node["children"]))
        nodes += [child for child in node["children"] if isinstance(child, dict)]
    return expression


def _check_call(name: str, given: int) -> None:
    found = _Functions.FUNCTION_TABLE.get(name)
    if found is None:
        raise ValueError(
            f"there is no function {name}(); there are {', '.join(sorted(_Functions.FUNCTION_TABLE))}"
        )
    wanted = found["signature"]
    if given < len(wanted) or (given > len(wanted) and not (wanted and wanted[-1].get("variadic"))):
        raise ValueError(f"{name}() has {given} arguments instead of {len(wanted)}")


Expression = Annotated[str, Field(min_length=1, max_length=_EXPRESSION), AfterValidator(_valid)]


def _with_names(schema: dict[str, Any]) -> None:
    """Lets the schema of the settings take the name of a ready-made mapping, alone or with some parts."""
    names = {"enum": sorted(READY)}
    whole = dict(schema)
    changed = {**whole, "properties": {**whole["properties"], "name": names}, "required": ["name"]}
    schema.clear()
    schema["anyOf"] = [names, changed, whole]


class EventMapping(BaseModel):
    """How records of one kind become events.

    In the settings, the name of a ready-made mapping stands for all of it. An object with such a name changes the
    parts that it gives; entries of `fields` and `actions` are added.

    Attributes:
        name: Its name, for messages.
        when: The mapping takes the records for which this is true, in JMESPath's sense. Where it cannot be evaluated,
            it is false: it is asked about the records of every producer.
        each: A list in the record. Each element becomes an event, and is called `each` in the expressions of `fields`.
            A record without elements is looked at once, as if it had one that is null. None: a record is one event.
        fields: Expressions for fields of an Interaction by their names in JSON, such as `userId` or `undo.eventId`. The
            event lacks a field whose expression gives null or an empty text.
        actions: The producer's names of actions, and the configured names. Other names stay as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_with_names)

    name: str = Field(pattern=rf"^[a-z][a-z0-9_-]{{0,{_NAME - 1}}}$")
    when: Expression
    each: Expression | None = None
    fields: dict[str, Expression]
    actions: dict[str, str] = Field(default_factory=dict, max_length=_MOST_ACTIONS)

    _when: Any = PrivateAttr()
    _each: Any = PrivateAttr()
    _fields: list[tuple[str, Any]] = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _with_ready_made(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given not in READY:
                raise ValueError(
                    f"there is no ready-made mapping {given!r}; there are {', '.join(sorted(READY))}"
                )
            given = {"name": given}
        if not isinstance(given, dict) or (ready := READY.get(str(given.get("name")))) is None:
            return given
        merged = {**ready, **given}
        for part in ("fields", "actions"):
            if isinstance(merged[part], dict):
                merged[part] = {**ready[part], **merged[part]}
        return merged

    @field_validator("fields")
    @classmethod
    def _are_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for path in fields:
            _check_path(Interaction.DESCRIPTOR, path)
        if "userId" not in fields:
            raise ValueError("userId is missing; an event has a user")
        if not any(path == "action" or path.startswith(("undo.", "impression.")) for path in fields):
            raise ValueError("what happened is missing: give action, undo.eventId or impression.itemIds")
        return fields

    def model_post_init(self, context: Any, /) -> None:
        """Compiles the expressions."""
        self._when = jmespath.compile(self.when)
        self._each = None if self.each is None else jmespath.compile(self.each)
        self._fields = [(path, jmespath.compile(text)) for path, text in self.fields.items()]

    def takes(self, document: Document) -> bool:
        """Whether the mapping is for this record."""
        try:
            return _is_true(self._evaluate("when", self._when, document))
        except NotMapped:
            return False

    def apply(self, document: Document) -> list[Document]:
        """Makes the events of a record that the mapping takes.

        Returns:
            The events in the JSON form of an Interaction. One, or one for each element of `each`.

        Raises:
            NotMapped: An expression fails, or `each` gives no list or one that is too long.
        """
        if self._each is None:
            return [self._event(document)]
        elements = self._evaluate(EACH, self._each, document)
        if elements is None or elements == []:
            elements = [None]
        if not isinstance(elements, list):
            raise NotMapped(f"mapping {self.name}: {EACH} gives {_shown(elements)}, which is no list")
        if len(elements) > MOST_EVENTS:
            raise NotMapped(
                f"mapping {self.name}: {EACH} gives {len(elements)} elements; the limit is {MOST_EVENTS}"
            )
        return [self._event({**document, EACH: element}) for element in elements]

    def place(self, number: int) -> str:
        """Names an event of a record in a message. The first has the number 0."""
        return f"mapping {self.name}" if self.each is None else f"mapping {self.name}, element {number}"

    def event_id(self, record_id: str, number: int) -> str:
        """The id of an event of a record. It is the record's own id, and the number if there may be several."""
        return record_id if self.each is None else f"{record_id}-{number}"

    def origin(self, field: str) -> str:
        """The expression of a field, for a message about its value. Empty: the mapping has none."""
        for path, text in self.fields.items():
            if _snake(path) == field.partition("[")[0]:
                return text
        return ""

    def _event(self, scope: Document) -> Document:
        event: Document = {}
        for path, expression in self._fields:
            value = self._evaluate(path, expression, scope)
            if value is None or value == "":
                continue
            if path == "action" and isinstance(value, str):
                value = self.actions.get(value, value)
            name, _, rest = path.partition(".")
            if rest:
                event.setdefault(name, {})[rest] = value
            else:
                event[name] = value
        return event

    def _evaluate(self, what: str, expression: Any, scope: Document) -> Any:
        try:
            return expression.search(scope, _OPTIONS)
        except (
            Exception
        ) as error:  # Of foreign data; jmespath lets errors of Python through, such as OverflowError.
            raise NotMapped(
                f"mapping {self.name}: {what} cannot be evaluated: {str(error)[:_SHOWN]}"
            ) from error


def mapping_for(document: Document, mappings: Sequence[EventMapping]) -> EventMapping | None:
    """The first mapping that takes the record."""
    return next((mapping for mapping in mappings if mapping.takes(document)), None)


def _check_path(message: Descriptor, path: str) -> None:
    name, dot, rest = path.partition(".")
    field: FieldDescriptor | None = next((f for f in message.fields if f.json_name == name), None)
    if field is None:
        names = ", ".join(f.json_name for f in message.fields)
        raise ValueError(f"an interaction has no field {path!r}; there are {names}")
    inner = field.message_type
    if inner is None or inner.full_name == "google.protobuf.Timestamp" or inner.GetOptions().map_entry:
        if dot:
            raise ValueError(f"{name} has no parts; write {name} instead of {path}")
    elif not dot:
        raise ValueError(
            f"{name} has parts; write one of {', '.join(f'{name}.{f.json_name}' for f in inner.fields)}"
        )
    else:
        _check_path(inner, rest)


def _snake(path: str) -> str:
    """A field's path in JSON as one in protobuf, as problems name it."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in path)


def _is_true(value: object) -> bool:
    """Truth in JMESPath: numbers are true, 0 as well."""
    return not (value is None or value is False or value == "" or value == [] or value == {})


def _shown(value: object) -> str:
    return repr(value)[:_NAME]


__all__ = [
    "EACH",
    "MOST_EVENTS",
    "MOST_MAPPINGS",
    "Document",
    "EventMapping",
    "NotMapped",
    "mapping_for",
]
