"""Writes the chart's values.yaml and values.schema.json from helm/values/: `python helm/write_values.py`.

helm/values/ describes each value once, as JSON Schema with its default. `include` adds the properties of a fragment.
The schema of `config` is that of the program's settings, without those that other values set.
"""

import json
import sys
import textwrap
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).resolve().parent
CHART: Final = HERE / "recstream"
OWNED: Final = {
    "bundle": None,
    "bundles": None,
    "repository": None,
    "kafka": [
        "bootstrap", "topic_prefix", "partitions", "replication", "security_protocol", "sasl_mechanism", "username",
        "password", "ssl_ca_file", "ssl_certificate_file", "ssl_key_file",
    ],
    "store": ["addresses", "cluster", "username", "password", "tls", "tls_ca_file", "database"],
    "triton": ["address", "tls"],
    "ingest": ["health_host", "health_port"],
    "server": ["host", "port", "http_port", "reuse_port", "drain_seconds", "token_keys"],
}  # fmt: skip
"""Settings that other values set, by room. None: the whole room."""

Schema = dict[str, Any]

_HEAD: Final = """\
# Written by helm/write_values.py from helm/values/. Change it there. values.schema.json has the same descriptions.
"""
_DEFINITIONS: Final[Schema] = {
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "quantity": {
        "type": ["string", "integer"],
        "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
    },
}


def settings_schema() -> tuple[Schema, Schema]:
    """Returns the schema of `config`, and the definitions that it refers to."""
    from configuration.settings import Settings

    schema = Settings.model_json_schema(ref_template="#/definitions/{model}")
    definitions: Schema = schema.pop("$defs")
    for room, owned in OWNED.items():
        reference = schema["properties"][room]
        if owned is None:
            del schema["properties"][room]
            continue
        name = reference["$ref"].rpartition("/")[2]
        for setting in owned:
            del definitions[name]["properties"][setting]
    plain = {"type": "object", "properties": schema["properties"], "additionalProperties": False}
    used = {name: _without_titles(each) for name, each in sorted(definitions.items())}
    return _without_titles(plain), used


def _without_titles(node: Any, *, names: bool = False) -> Any:
    """Removes titles, which only repeat names, and formats. `names`: the keys are property names, not keywords."""
    if isinstance(node, dict):
        return {
            key: _without_titles(value, names=key == "properties" and not names)
            for key, value in node.items()
            if names or key not in ("title", "format", "writeOnly")
        }
    return [_without_titles(each) for each in node] if isinstance(node, list) else node


def _laid_over(below: Schema, above: Schema) -> Schema:
    """Merges two schemas. `above` takes precedence, and properties are merged by name."""
    merged = deepcopy(below)
    for key, value in above.items():
        if key == "properties" or (key in merged.get("properties", {}) and isinstance(value, dict)):
            merged[key] = _properties(merged.get(key, {}), value)
        else:
            merged[key] = value
    return merged


def _properties(below: Schema, above: Schema) -> Schema:
    merged = deepcopy(below)
    for name, value in above.items():
        merged[name] = _laid_over(merged[name], value) if name in merged else value
    return merged


def expanded(node: Schema, fragments: Schema, config: Schema) -> Schema:
    """Returns plain JSON Schema, with fragments included, and closed objects where there are properties."""
    node = dict(node)
    if node.pop("settings", False):
        return {**config, "default": {}, "description": node["description"]}
    properties: Schema = {}
    for name in node.pop("include", []):
        properties = _properties(properties, fragments[name])
    if properties or "properties" in node:
        properties = _properties(properties, node.get("properties", {}))
        node["properties"] = {
            name: expanded(value, fragments, config) if "description" in value else value
            for name, value in properties.items()
        }
        node = {"type": "object", "additionalProperties": False, **node}
    return node


def parts() -> list[Schema]:
    """Returns the expanded schema of each file, in order."""
    fragments = yaml.safe_load((HERE / "values" / "fragments.yaml").read_text())
    config, definitions = settings_schema()
    _DEFINITIONS.update(definitions)
    found = []
    for path in sorted((HERE / "values").glob("[0-9]*.yaml")):
        part = yaml.safe_load(path.read_text())
        found.append(expanded({**part, "description": ""}, fragments, config))
    return found


def schema_text() -> str:
    """Returns the text of values.schema.json."""
    whole: Schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the recstream chart",
        "type": "object",
        "additionalProperties": False,
        "properties": {},
        "allOf": [],
    }
    for part in parts():
        whole["properties"].update(part["properties"])
        whole["allOf"] += part.get("allOf", [])
    return json.dumps({**whole, "definitions": dict(sorted(_DEFINITIONS.items()))}, indent=1) + "\n"


def values_text() -> str:
    """Returns the text of values.yaml."""
    lines = [_HEAD.rstrip()]
    for part in parts():
        for name, node in part["properties"].items():
            lines += ["", *_value(name, node, 0)]
    return "\n".join(lines) + "\n"


def _value(name: str, node: Schema, depth: int) -> list[str]:
    pad = "  " * depth
    leaf = "default" in node
    words = ("-- " if leaf else "") + node["description"] + ("" if node["description"].endswith(".") else ".")
    lines = [f"{pad}# {line}" for line in textwrap.wrap(words, 110 - len(pad), break_on_hyphens=False)]
    if leaf:
        return [*lines, *_written(name, node["default"], pad)]
    lines.append(f"{pad}{name}:")
    for inner, value in node["properties"].items():
        lines += _value(inner, value, depth + 1)
    return lines


def _written(name: str, value: Any, pad: str) -> list[str]:
    text = yaml.safe_dump({name: value}, sort_keys=False, width=1000, default_flow_style=False)
    return [pad + line for line in text.rstrip("\n").split("\n")]


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema_text(), encoding="utf-8")
    (CHART / "values.yaml").write_text(values_text(), encoding="utf-8")
    sys.stdout.write("wrote values.yaml and values.schema.json; helm-docs writes README.md\n")
