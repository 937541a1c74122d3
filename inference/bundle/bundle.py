"""The model bundle: everything that training hands to serving, in one folder.

- `manifest.json`: the manifest. It is written last, so a folder without it is not a bundle
- `tokenizer.json`: the tokenizer of item texts
- `items.json`: ids of the items in training. An item's index is its position + 1
- `triton/<graph>/config.pbtxt`, `triton/<graph>/<version>/{model.onnx, model.py}`: four graphs, and one for each
  modality of the manifest
- `triton-onnxruntime/<graph>/config.pbtxt`, `triton-tensorrt/...`: configurations for Triton's other backends. Nothing
  here reads them, see `inference.repository.backends`
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from tokenizers import Tokenizer

from inference.bundle.graphs import GRAPHS, Graph, Tensor, graphs_with
from inference.bundle.modalities import PREPARATIONS, Modality
from inference.bundle.onnx_shapes import Declared, signature
from inference.errors import BundleRefused
from inference.model import Tokens

MANIFEST: Final = "manifest.json"
TOKENIZER: Final = "tokenizer.json"
ITEMS: Final = "items.json"
MAX_TEXT_ATTRIBUTES: Final = 1_000
"""Most attributes that a model reads."""


class Manifest(BaseModel):
    """The description of a bundle. Widths are in float32 numbers."""

    # Unknown fields are ignored, so that this release can serve bundles of later ones. A bundle that it cannot serve
    # has another `format`.
    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    version: int = Field(gt=0, lt=2**62, description="The model version: Unix seconds of its training")
    precision: Literal["float32", "int8"] = Field(
        "float32", description="Precision of the graphs' large weights"
    )
    compressed_from: int | None = Field(
        None, gt=0, description="The version that was compressed to int8 to make this one"
    )
    width: int = Field(ge=1, le=8192, description="d: width of item and user vectors")
    state_width: int = Field(ge=1, le=65536, description="S: width of a user's state")
    actions: tuple[str, ...] = Field(
        description="Known actions; an action's index is its position + 1, 0 is unknown"
    )
    history: int = Field(ge=1, description="N: events that a state always covers")
    refold_every: int = Field(ge=1, description="K: events between refolds")
    text_tokens: int = Field(ge=2, description="Maximum number of tokens of an item's text")
    text_attributes: tuple[str, ...] = Field(
        (),
        max_length=MAX_TEXT_ATTRIBUTES,
        description="Attributes whose texts are part of an item's text, beside title, categories and description",
    )
    modalities: tuple[Modality, ...] = Field(
        (), description="Modalities of items besides text, in the order in which they are added"
    )
    popularity_half_lives_days: tuple[Annotated[float, Field(gt=0, le=36_500)], ...] = Field(
        min_length=1,
        max_length=6,
        description="P: half-lives of the popularities that the ranker takes, in days, ascending",
    )
    metrics: Mapping[str, float] = Field(
        default_factory=dict, description="Metrics of the evaluation in training"
    )
    data_fingerprint: str = Field("", description="BLAKE2b of the training data")
    texts_fingerprint: str = Field(
        "",
        description="BLAKE2b of the texts of the items in items.json, in its order; empty if unknown",
    )
    seeds: tuple[int, ...] = ()
    created: str = Field("", description="ISO time of the training")
    libraries: Mapping[str, str] = Field(
        default_factory=dict, description="Versions of the libraries that trained it"
    )
    files: Mapping[str, str] = Field(description="SHA-256 by path inside the bundle, without the manifest")

    @field_validator("popularity_half_lives_days")
    @classmethod
    def _ascending(cls, half_lives: tuple[float, ...]) -> tuple[float, ...]:
        if any(one >= next_one for one, next_one in pairwise(half_lives)):
            raise ValueError(f"half-lives must be strictly ascending: {half_lives}")
        return half_lives

    def modality(self, name: str) -> Modality:
        """The modality of this name. Raises KeyError if the bundle does not have it."""
        return {m.name: m for m in self.modalities}[name]

    def graphs(self) -> dict[str, Graph]:
        """All graphs of the bundle, by name."""
        return graphs_with(self.modalities)

    def widths(self) -> dict[str, int]:
        """Sizes of the dimensions that the graphs refer to by name."""
        return {
            "d": self.width,
            "S": self.state_width,
            "A": len(self.actions),
            "P": len(self.popularity_half_lives_days),
        }

    def action_index(self, action: str) -> int:
        """The action's position + 1. 0 for an action that the model does not know."""
        return self.actions.index(action) + 1 if action in self.actions else 0


@dataclass(frozen=True)
class Bundle:
    """A checked bundle."""

    folder: Path
    manifest: Manifest

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer: Tokenizer = Tokenizer.from_file(str(self.folder / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.manifest.text_tokens)
        return tokenizer

    @cached_property
    def _indices(self) -> dict[str, int]:
        ids: list[str] = json.loads((self.folder / ITEMS).read_text(encoding="utf-8"))
        return {item_id: place + 1 for place, item_id in enumerate(ids)}

    def tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer. It truncates to `text_tokens` and does not pad."""
        return self._tokenizer

    def trained_items(self) -> list[str]:
        """Ids of the items in training, in the order of the id embedding."""
        return list(self._indices)

    def item_index(self, item_id: str) -> int:
        """The item's row in the id embedding. 0 for an item that was not in training."""
        return self._indices.get(item_id, 0)

    def tokens(self, item_ids: Sequence[str], texts: Sequence[str]) -> Tokens:
        """Tokenises the texts of b items, padded to the longest: the input of the item encoder."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        longest = max((len(row) for row in rows), default=1) or 1
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return Tokens(ids, mask, np.array([self.item_index(item_id) for item_id in item_ids], np.int64))


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> Bundle:
    """Reads and checks the bundle in `folder`.

    Every file must be there with the manifest's checksum, and every graph must have the manifest's shapes.

    Raises:
        BundleRefused: A check failed. The error names the file or field.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise BundleRefused(MANIFEST, f"not in {folder}: the bundle is missing or incomplete") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BundleRefused(f"{MANIFEST}: {field}" if field else MANIFEST, first["msg"]) from error
    _check_modalities(manifest)
    for name in required_files(manifest):
        if name not in manifest.files:
            raise BundleRefused(name, "the manifest does not list it")
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleRefused(name, "lies outside the bundle")
        if not path.is_file():
            raise BundleRefused(name, "missing")
        if checksum(path) != expected:
            raise BundleRefused(
                name, "its checksum differs from the manifest's: it was changed or copied incompletely"
            )
    for graph in manifest.graphs().values():
        _check_shapes(folder, manifest, graph)
    bundle = Bundle(folder, manifest)
    _check_text(bundle)
    return bundle


def required_files(manifest: Manifest) -> list[str]:
    """The files that a bundle with this manifest must have."""
    names = [TOKENIZER, ITEMS]
    for graph in manifest.graphs():
        names += [f"triton/{graph}/config.pbtxt"]
        names += [f"triton/{graph}/{manifest.version}/{file}" for file in ("model.onnx", "model.py")]
    return names


def _check_modalities(manifest: Manifest) -> None:
    names = [m.name for m in manifest.modalities]
    if len(manifest.graphs()) != len(GRAPHS) + len(names) or "vector" in names:
        raise BundleRefused(MANIFEST, f"modalities: a name is duplicate or reserved: {', '.join(names)}")
    for modality in manifest.modalities:
        if modality.preparation not in PREPARATIONS:
            raise BundleRefused(
                MANIFEST,
                f"modality {modality.name} has the unknown preparation {modality.preparation!r}",
            )


def _check_text(bundle: Bundle) -> None:
    try:
        bundle.item_index("")
    except ValueError as error:
        raise BundleRefused(ITEMS, f"not a list of ids: {error}") from error
    try:
        bundle.tokenizer()
    except Exception as error:  # The tokenizers library raises plain Exception.
        raise BundleRefused(TOKENIZER, f"not a tokenizer: {error}") from error


def _check_shapes(folder: Path, manifest: Manifest, graph: Graph) -> None:
    name = f"triton/{graph.name}/{manifest.version}/model.onnx"
    try:
        found = signature(folder / name)
    except (OSError, ValueError) as error:
        raise BundleRefused(name, str(error)) from error
    for side, wanted, declared in (
        ("input", graph.inputs, found.inputs),
        ("output", graph.outputs, found.outputs),
    ):
        if missing := {t.name for t in wanted} ^ set(declared):
            raise BundleRefused(
                name, f"its {side}s differ from those of {graph.name}: {', '.join(sorted(missing))}"
            )
        for tensor in wanted:
            if reason := _misfit(tensor, declared[tensor.name], manifest):
                raise BundleRefused(name, f"{side} {tensor.name}: {reason}")


def _misfit(tensor: Tensor, declared: Declared, manifest: Manifest) -> str:
    widths = manifest.widths()
    dims = tuple(widths.get(dim, -1) if isinstance(dim, str) else dim for dim in tensor.dims)
    got = tuple(dim if isinstance(dim, int) else -1 for dim in declared.dims)
    if declared.kind != tensor.kind:
        return f"is {declared.kind}, not {tensor.kind}"
    if got != (-1, *dims):
        return f"has shape {list(got)}, the manifest requires {[-1, *dims]} (-1: any size)"
    return ""
