"""Filters as text, in the form of https://google.aip.dev/160.

    category = "shoes" AND (attributes.brand = "Acme" OR attributes.price <= 20) AND NOT attributes.color:"red"

    filter      = expression
    expression  = factor { "AND" factor }
    factor      = term { "OR" term }                        OR binds tighter than AND
    term        = [ "NOT" | "-" ] ( "(" expression ")" | between | restriction )
    between     = "between" "(" field "," number "," number ")"   ends included
    restriction = field ":" "*" | field comparator argument
    argument    = value | "(" value { "OR" value } ")"
    field       = "category" | "domain" | "item_id" | "attributes." name
    comparator  = "=" | "!=" | ":" | "<" | "<=" | ">" | ">="
    value, name = a word, or a string in quotes

- `=` and `:` say the same: the item has this value, perhaps among others. `!=` is the opposite. `:*` is any value.
- A word after an attribute is a number if it looks like one, such as `20` or `-1.5e3`. `"20"` in quotes is a text.
- `<`, `<=`, `>` and `>=` take numbers. An item without the number does not match.
- In quotes, `\\"`, `\\'`, `\\\\`, `\\n`, `\\r` and `\\t` are escapes. `*` in quotes is a star, not a wildcard.
"""

import math
import re
from collections.abc import Callable
from typing import Final

from catalog.errors import BadFilterText
from catalog.filters.conditions import ATTRIBUTE_PREFIX, CATEGORY, DOMAIN
from catalog.filters.filter_check import MAX_DEPTH
from recstream.v1.filter_pb2 import Filter, FilterList, ItemIds, RangeFilter, TextFilter

ITEM_ID: Final = "item_id"
MAX_TEXT_BYTES: Final = 65_536
# A level of a filter takes up to two: `NOT (`.
_MAX_NESTED: Final = 2 * MAX_DEPTH

_WORD: Final = re.compile(r"""[^\s()"',:=<>!]+""")
_SPACE: Final = re.compile(r"\s*")
_STRING: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {'"': '"', "'": "'", "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_NUMBER: Final = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_BETWEEN: Final = re.compile(r"between\s*\(")
_COMPARATOR: Final = re.compile(r"!=|<=|>=|[=<>:]")
# What word processors and other query languages write for quotes. As part of a value they would match nothing.
_OTHER_QUOTES: Final = frozenset("“”„‟‘’‚«»`´")
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT"})

Value = str | float


def parse(text: str) -> Filter:
    """Returns the filter that a text says. Its size and the lengths of its values are left to `filter_check.problems`.

    Args:
        text: The filter, in the form above.

    Raises:
        BadFilterText: It cannot be read. The error names the column and what is expected there.
    """
    parser = _Parser(text)
    wanted = parser.expression()
    parser.end()
    return wanted


class _Parser:
    """A recursive-descent parser, with a method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._skip_space()

    def expression(self) -> Filter:
        parts = [self._factor()]
        while self._keyword("AND"):
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else Filter(all=FilterList(filters=parts))

    def end(self) -> None:
        if self._at < len(self._text):
            raise self._expected("AND, OR or the end")

    def _factor(self) -> Filter:
        parts = [self._term()]
        while self._keyword("OR"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Filter(any=FilterList(filters=parts))

    def _term(self) -> Filter:
        if self._keyword("NOT") or self._take("-"):
            return Filter(exclude=self._nested(self._simple))
        return self._simple()

    def _simple(self) -> Filter:
        if self._take("("):
            wanted = self._nested(self.expression)
            self._require(")", "AND, OR or `)`")
            return wanted
        return self._between() if _BETWEEN.match(self._text, self._at) else self._restriction()

    def _between(self) -> Filter:
        self._word()
        self._require("(", "`(`")
        start = self._at
        field = self._field()
        if not field.startswith(ATTRIBUTE_PREFIX):
            raise self._expected("attributes.NAME", start)
        self._require(",", "`,` and the smallest number")
        low = self._number()
        self._require(",", "`,` and the largest number")
        high = self._number()
        self._require(")", "`)`")
        return Filter(range=RangeFilter(field=field, min=low, max=high))

    def _restriction(self) -> Filter:
        start = self._at
        field = self._field()
        found = _COMPARATOR.match(self._text, self._at)
        if found is None:
            raise self._expected("a comparator, such as =, : or <=")
        comparator = found[0]
        if comparator[0] in "<>":
            if not field.startswith(ATTRIBUTE_PREFIX):
                raise self._expected(f"=, != or : after {field}, which has no numbers")
            self._move(found.end())
            return _compared(field, comparator, self._number())
        self._move(found.end())
        if comparator == ":" and self._take("*"):
            if field == ITEM_ID:
                raise self._expected("a field that an item may lack", start)
            return Filter(exists=field)
        wanted = _equal(field, self._argument(field))
        return Filter(exclude=wanted) if comparator == "!=" else wanted

    def _argument(self, field: str) -> list[Value]:
        if not self._take("("):
            return [self._value(field)]
        values = [self._value(field)]
        while self._keyword("OR"):
            values.append(self._value(field))
        self._require(")", "OR or `)`")
        return values

    def _value(self, field: str) -> Value:
        if (quoted := self._string()) is not None:
            return quoted
        start = self._at
        word = self._word()
        if not word or word in _KEYWORDS or word == "*":
            raise self._expected("a value", start)
        if word[0] in _OTHER_QUOTES:
            raise self._expected("a value, or straight quotes around it", start)
        if field.startswith(ATTRIBUTE_PREFIX) and _NUMBER.fullmatch(word):
            return self._finite(word, start)
        return word

    def _number(self) -> float:
        start = self._at
        word = self._word()
        if not _NUMBER.fullmatch(word):
            raise self._expected("a number", start)
        return self._finite(word, start)

    def _finite(self, word: str, start: int) -> float:
        number = float(word)
        if not math.isfinite(number):
            raise self._expected("a number of at most 1.8e308", start)
        return number

    def _field(self) -> str:
        start = self._at
        found = _WORD.match(self._text, start)
        field = found[0] if found is not None else ""
        self._at += len(field)
        if field == ATTRIBUTE_PREFIX and self._text[self._at : self._at + 1] in ("'", '"'):
            field += self._string() or ""
        self._skip_space()
        if not field or field in _KEYWORDS:
            raise self._expected("a condition, such as category = shoes", start)
        name = field.removeprefix(ATTRIBUTE_PREFIX)
        if field in (CATEGORY, DOMAIN, ITEM_ID) or (name != field and name.strip()):
            return field
        raise self._expected("category, domain, item_id or attributes.NAME", start)

    def _string(self) -> str | None:
        if self._text[self._at : self._at + 1] not in ("'", '"'):
            return None
        found = _STRING.match(self._text, self._at)
        if found is None:
            raise BadFilterText(self._at + 1, "expected a closing quote after this one, found the end")
        for escape in _ESCAPE.finditer(self._text, self._at + 1, found.end() - 1):
            if escape[1] not in _ESCAPES:
                raise BadFilterText(
                    escape.start() + 1,
                    f"expected an escape \\\", \\', \\\\, \\n, \\r or \\t, found `{escape[0]}`",
                )
        self._move(found.end())
        return _ESCAPE.sub(lambda escape: _ESCAPES[escape[1]], found[0][1:-1])

    def _word(self) -> str:
        found = _WORD.match(self._text, self._at)
        if found is None:
            return ""
        self._move(found.end())
        return found[0]

    def _keyword(self, keyword: str) -> bool:
        found = _WORD.match(self._text, self._at)
        if found is None or found[0] != keyword:
            return False
        self._move(found.end())
        return True

    def _take(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._move(self._at + len(mark))
        return True

    def _require(self, mark: str, expected: str) -> None:
        if not self._take(mark):
            raise self._expected(expected)

    def _nested(self, rule: Callable[[], Filter]) -> Filter:
        self._depth += 1
        if self._depth > _MAX_NESTED:
            raise self._expected(f"at most {_MAX_NESTED} parentheses and NOTs inside each other")
        wanted = rule()
        self._depth -= 1
        return wanted

    def _move(self, at: int) -> None:
        self._at = at
        self._skip_space()

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at

    def _expected(self, what: str, at: int | None = None) -> BadFilterText:
        at = self._at if at is None else at
        word = _WORD.match(self._text, at)
        found = word[0][:64] if word is not None else self._text[at : at + 1]
        return BadFilterText(at + 1, f"expected {what}, found {f'`{found}`' if found else 'the end'}")


def _compared(field: str, comparator: str, number: float) -> Filter:
    match comparator:
        case "<=":
            bounds = RangeFilter(field=field, max=number)
        case "<":
            bounds = RangeFilter(field=field, max=math.nextafter(number, -math.inf))
        case ">=":
            bounds = RangeFilter(field=field, min=number)
        case _:
            bounds = RangeFilter(field=field, min=math.nextafter(number, math.inf))
    return Filter(range=bounds)


def _equal(field: str, values: list[Value]) -> Filter:
    """Items that have one of the values in the field."""
    texts = [value for value in values if isinstance(value, str)]
    if field == ITEM_ID:
        return Filter(item_ids=ItemIds(values=texts))
    parts = [Filter(text=TextFilter(field=field, values=texts))] if texts else []
    parts += [
        Filter(range=RangeFilter(field=field, min=value, max=value))
        for value in values
        if not isinstance(value, str)
    ]
    return parts[0] if len(parts) == 1 else Filter(any=FilterList(filters=parts))
