"""Names are the field's: what a recommender engineer would type into a search box.

Read from the source: files, folders, classes, functions, parameters, attributes, settings (fields of settings classes),
metrics, and the events and errors that are logged or raised. Prose is not looked at.

    python -m tests.test_names [ROOM ...]      lists what is left
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

WORDS: Final = {
    "foretell": "predict", "foretells": "predicts", "foretold": "predicted", "foretelling": "sequence_model",
    "chances": "rng_state", "told": "broadcast, notified, visible", "agree": "all_reduce, check",
    "suited": "data_defaults", "lesson": "distillation_target", "lessons": "distillation_targets",
    "taught": "distilled",
    "softening": "temperature", "learned": "training_data", "asks": "queries", "fitness": "reproduction, topic_check",
    "shelf": "item_writer, in_memory", "turns": "ranking_limiter, schedule", "lane": "priority", "lanes": "priorities",
    "inbox": "mailbox", "inboxes": "mailboxes", "hear": "on_announcement", "heard": "on_announcement, seen",
    "hears": "on_announcement", "tell": "notify", "tells": "notifies", "degraded": "tier_recovery",
    "places": "positions, paths", "propose": "retrieve", "proposes": "retrieves", "proposal": "retrieved",
    "proposals": "retrieved", "trial": "smoke_test", "trials": "smoke_tests", "movement": "migration_progress",
    "survey": "status", "clearing": "cleanup", "taste": "long_term", "tastes": "long_term",
    "together": "process_group, TaskGroup, joined", "occasions": "ranking_contexts", "occasion": "ranking_context",
    "surroundings": "context_features", "bars": "progress", "averaged": "weight_averaging", "showing": "stream_gauge",
    "forgetting": "erasure", "taken": "consumed", "beside": "compatibility", "journal": "change_log",
    "guess": "detect_format", "guesses": "detects", "moments": "timestamps", "anew": "recreated", "wakes": "wake_ups",
    "stamped": "timestamped",
}  # fmt: skip
"""Words that are wrong wherever they stand in a name, with what the field says."""

NAMES: Final = {
    "Parts": "chunks, contributions", "Row": "method", "Asks": "EvalQueries", "Kept": "ResultCache", "Reads":
    "ProfileReader", "Known": "Snapshot", "Lists": "SlateService", "Folds": "HistoryEncoder", "Applied": "RewindWindow",
    "ShownLists": "SlateMemory", "Contents": "InMemoryCatalog", "Pointer": "VersionRouting", "Served": "VersionWatcher",
    "After": "ReadYourWrites", "TooMuch": "LimitExceeded", "StuckReader": "SlowConsumer", "bounded": "with_timeout",
    "first_of": "race", "direct": "item_skip_connection", "near": "next_item", "references": "baselines",
    "private": "evaluation settings", "forget": "erase", "Bar": "progress",
}  # fmt: skip
"""Whole names that are wrong, though their words are ordinary."""

ENDINGS: Final = {"_at_once": "_concurrency", "_kept": "_cache_size"}

PHRASES: Final = (
    r"foret(ell|old)\w*", r"made anew", r"by heart", r"told by all", r"steps? down", r"the shelf", r"forgetting",
    r"the inbox", r"suited", r"taught", r"softening",
)  # fmt: skip
"""What no message says."""

# Ordinary words that the house once used in a sense of its own. They stay wherever they mean what they always mean:
# own, after, total, form, shown, served, kept, row, place.
EXCEPTIONS: Final = {
    "PortTaken": "a port that is in use",
    "show_bars": "bars of a chart",
    "taken": "the client's name for a field of the contract, which is frozen",
}
"""Whole names that have a wrong word and are right, with the reason."""


@dataclass(frozen=True, slots=True)
class Found:
    """A name of the house's own. where: file:line."""

    where: str
    name: str
    instead: str

    def __str__(self) -> str:
        return f"{self.where}: {self.name}: say {self.instead}"


def words(name: str) -> list[str]:
    """The words of an identifier, lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def wrong(name: str, where: str) -> Iterator[Found]:
    """What is wrong with the identifier."""
    bare = name.strip("_")
    if bare in EXCEPTIONS:
        return
    if bare in NAMES:
        yield Found(where, name, NAMES[bare])
        return
    for ending, instead in ENDINGS.items():
        if bare.endswith(ending):
            yield Found(where, name, instead)
    for word in words(bare):
        if word in WORDS:
            yield Found(where, name, WORDS[word])


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that the file defines, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield getattr(node, "lineno", 0), name


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Strings that people or machines read: metrics, log events, errors, help texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from _strings(node.exc)
        elif isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in {
                "Counter",
                "Gauge",
                "Histogram",
                "Field",
                "Option",
                "Argument",
                "warning",
                "error",
                "info",
            }:
                yield from _strings(node)


def _strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.lineno, each.value


def sources(rooms: tuple[str, ...]) -> list[Path]:
    """The rooms' Python files that are written by hand."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *rooms],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [
        ROOT / name
        for name in listed
        if name.endswith(".py")
        and "_pb2" not in name
        and not name.startswith("tests/")
        and (ROOT / name).exists()
    ]


def found(rooms: tuple[str, ...] = (".",)) -> Iterator[Found]:
    """Everything in these rooms that is named in the house's own words."""
    for path in sources(rooms):
        relative = path.relative_to(ROOT)
        yield from wrong(path.stem, str(relative))
        tree = ast.parse(path.read_text())
        for line, name in identifiers(tree):
            yield from wrong(name, f"{relative}:{line}")
        for line, text in messages(tree):
            if re.fullmatch(r"[a-z][a-z0-9_]+", text):
                yield from wrong(text, f"{relative}:{line}")
            for phrase in PHRASES:
                if re.search(rf"\b{phrase}\b", text):
                    yield Found(f"{relative}:{line}", repr(text), f"without {phrase}")


def test_names_are_those_of_the_field() -> None:
    assert [str(each) for each in found()] == []


def test_a_private_word_is_found_wherever_it_stands() -> None:
    assert {each.name for each in wrong("_foretell_unseen", "")} == {"_foretell_unseen"}
    assert [each.instead for each in wrong("ranking_at_once", "")] == ["_concurrency"]
    assert [each.instead for each in wrong("StuckReader", "")] == ["SlowConsumer"]
    assert not list(wrong("total_after_own_form", ""))


if __name__ == "__main__":
    left = list(dict.fromkeys(map(str, found(tuple(sys.argv[1:]) or (".",)))))
    print("\n".join(left) or "none")
