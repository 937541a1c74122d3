"""Generates the table of all settings: `python -m configuration.reference` writes docs/configuration.md."""

import enum
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from configuration.settings import Settings, variable

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

_HEAD = """\
# Configuration

`python -m configuration.reference` generates this page from the code. A test checks that it is up to date.

A setting is looked up in this order: `--set NAME=VALUE` on the command line, its environment variable, the YAML file
that `--config` or `RECSTREAM_CONFIG` names, its default. In the file, the parts of the name are nested keys:

```yaml
kafka:
  bootstrap: broker-1:9092,broker-2:9092
```

Lists and tables are JSON in a variable or flag: `RECSTREAM_STORE__ADDRESSES='["valkey-1:6379"]'`. A process does not
start with a setting that is mistyped or out of range, and the error names it. No setting is ignored silently.

Four more variables are not settings:

- `RECSTREAM_CONFIG`: the YAML file.
- `RECSTREAM_CACHE`: the folder for downloaded jars; by default `recstream` in the user's cache folder.
- `RECSTREAM_TRITON_ENV`: the environment that Triton is installed in; by default `.envs/triton`.
- `RECSTREAM_PYTHON`: the interpreter that `make` builds the environments with.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Attributes:
        path: The parts of the setting's name.
        default: The default as JSON.
        meaning: The description.
    """

    path: tuple[str, ...]
    default: str
    meaning: str

    @property
    def name(self) -> str:
        """The dotted name, as `--set` takes it."""
        return ".".join(self.path)


def settings_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yields every setting of the model and its nested models."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings_of(inner, (*path, name))
        else:
            yield Setting((*path, name), _default(field), field.description or "")


def page() -> str:
    """Returns the whole page."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        inner = field.annotation
        is_room = isinstance(inner, type) and issubclass(inner, BaseModel)
        rows = list(settings_of(inner, (name,))) if is_room and isinstance(inner, type) else []
        rows = rows or [Setting((name,), _default(field), field.description or "")]
        parts.append(f"\n## {name}\n")
        if is_room:
            parts.append(f"{field.description}.\n")
        parts.append("| name | variable | default | meaning |\n|---|---|---|---|")
        parts += [_row(row) for row in rows]
    return "\n".join(parts) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    if isinstance(value, enum.Enum):
        value = value.value
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Returns the value ready for JSON. Sets are sorted, so that every run gives the same page. Models leave out
    defaults."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return to_jsonable_python(value)


def _row(row: Setting) -> str:
    meaning = row.meaning.replace("|", r"\|")
    return f"| `{row.name}` | `{variable(row.path)}` | {_cell(row.default)} | {meaning} |"


def _cell(default: str) -> str:
    escaped = default.replace("|", r"\|")
    return f"`{escaped}`" if default else "none"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
