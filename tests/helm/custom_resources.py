"""Checks custom resources against their definitions. Run by the interpreter of .envs/kubernetes, which has jsonschema.

`python custom_resources.py CRDS FILE` prints a line for each fault, and exits with status 1. It prints a line
`unchecked: KIND` for each kind without a definition in CRDS. It ignores rules in CEL (x-kubernetes-validations).
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

BUILT_IN = ("v1", "apps/", "batch/", "autoscaling/", "policy/", "networking.k8s.io/")


def main(crds: Path, file: Path) -> int:
    """Checks the file. Returns the exit status."""
    schemas = definitions(crds)
    faults = 0
    for each in yaml.safe_load_all(file.read_text()):
        if not each or each["apiVersion"].startswith(BUILT_IN):
            continue
        key = each["apiVersion"], each["kind"]
        if key not in schemas:
            print(f"unchecked: {each['kind']} {each['apiVersion']}")
            continue
        for error in Draft7Validator(schemas[key]).iter_errors(each):
            where = ".".join(map(str, error.absolute_path))
            print(f"{each['kind']} {each['metadata']['name']}: {where}: {error.message}")
            faults += 1
    return int(faults > 0)


def definitions(folder: Path) -> dict[tuple[str, str], Any]:
    """Returns the schema of each apiVersion and kind."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        for crd in yaml.safe_load_all(path.read_text()):
            if not crd or crd.get("kind") != "CustomResourceDefinition":
                continue
            spec = crd["spec"]
            for version in spec["versions"]:
                key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                found[key] = strict(version["schema"]["openAPIV3Schema"])
    return found


def strict(node: Any) -> Any:
    """Returns the schema as JSON Schema that refuses unknown fields, like a server with strict validation."""
    if isinstance(node, list):
        return [strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: strict(value) for key, value in node.items()}
    if isinstance(node.get("type"), str):
        if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        if node.pop("nullable", False):
            node["type"] = [node["type"], "null"]
    return node


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
