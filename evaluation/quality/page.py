"""Writes docs/quality.md and its chart."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evaluation.baselines.fit import NAMES
from evaluation.baselines.reproduction import Reproduction
from evaluation.baselines.tune import Tuned
from evaluation.methods.lists import LENGTH
from evaluation.metrics.groups import NEW_DAYS, Group
from evaluation.protocols.cold import ColdResult
from evaluation.protocols.held_out import TEST_FROM
from evaluation.quality.run import QualityResults
from evaluation.report.charts import ndcg_chart
from evaluation.report.results import MethodResult, Result

_LATE = f"The first {TEST_FROM * 100:.0f} % of the events in time are for training."
_DESCRIPTIONS = {
    "leave-one-out": "The target is each user's last liked item. The history is everything that the user did before.",
    "next-item": f"{_LATE} Each later liked item is the target of one list. The history grows with every event; the "
    "weights stay fixed. This is what the product does all day.",
    "future": f"{_LATE} Each user gets one list at that moment. The targets are all items that the user likes later.",
}
_METHOD = """Full ranking: each list is drawn from all items, except those that the user has consumed. An item is liked
if its rating is four or more. Items of equal score count with the mean over all their orders, so that the order of a
file does not decide. The rows of the product, and of the baselines that depend on a seed, are means over the seeds,
with one training each. The interval is a bootstrap over users. `recstream above` is the probability that its mean
NDCG@10 is above the baseline's, by a paired bootstrap over users.

Coverage: the share of the items that are on any list. Novelty: the mean -log2 of an item's share of the likes in
training, in bits. Diversity: 1 - the mean cosine of two items of a list, where an item is the set of its users in
training.

`recstream` is what a server lists: `evaluation` calls the server's own `ranking`, in one process and at the moment of
each list. `recstream-retrieval` orders all items by the user vector alone.
`recstream-int8` is `recstream` from the same model with its large weights in eight bits."""


def write_page(path: Path, made: QualityResults, machine: str) -> None:
    """Writes the page, and its chart beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = path.with_suffix(".svg")
    picture.write_text(ndcg_chart(made.results), encoding="utf-8")
    path.write_text(page(made, machine, picture.name), encoding="utf-8")


def page(made: QualityResults, machine: str, picture: str) -> str:
    """The page as Markdown."""
    seconds = made.training_seconds
    took = f"{min(seconds):.0f} to {max(seconds):.0f} seconds" if seconds else "no time"
    threads = "one thread" if made.training_threads == 1 else f"{made.training_threads} threads"
    parts = [
        "# Quality",
        f"MovieLens-100K, seeds: {made.seeds}, lists of {LENGTH} items on the surface `{made.results[0].surface}`.\n"
        "`make quality` trains, measures, and writes this page. If it is interrupted, it resumes.\n"
        "`recstream evaluate` measures other data the same way.",
        f"![NDCG@10 of each method, with intervals]({picture})",
    ]
    for result in made.results:
        parts += _protocol(result)
    parts += _cold(made.cold) if made.cold is not None else []
    parts += [
        "## How it was measured",
        _METHOD,
        f"Measured on {machine}. One training took {took} on {threads}.",
        "## The baselines",
        "Each was tuned by NDCG@10 on the validation variant of the split, over the grid in "
        "`evaluation/baselines/grids.yaml`, and then trained on the test variant.",
        _not_measured(made),
        *(_parameters(protocol, tuned) for protocol, tuned in made.parameters.items()),
        _published(made.reproductions),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _protocol(result: Result) -> list[str]:
    compared = next((row for row in result.rows if row.above), None)
    columns: dict[str, Callable[[MethodResult], str]] = {
        "": lambda row: (
            f"**{row.name}**" if row.product else f"{row.name} (not reproduced)" if row.note else row.name
        ),
        "HR@10": lambda row: _number(row.figures["hr@10"]),
        "NDCG@10": lambda row: _number(row.figures["ndcg@10"]),
        "95 %": lambda row: " to ".join(_number(end) for end in row.intervals["ndcg@10"]),
        "MRR@10": lambda row: _number(row.figures["mrr@10"]),
        "Recall@10": lambda row: _number(row.figures["recall@10"]),
        "coverage": lambda row: f"{row.coverage * 100:.0f} %",
        "novelty": lambda row: f"{row.novelty:.2f}",
        "diversity": lambda row: f"{row.diversity:.2f}",
    }
    if compared is not None:
        columns[f"{compared.name} above"] = lambda row: (
            f"{compared.above[row.name]:.3f}" if row.name in compared.above else ""
        )
    asked = f"{result.queries:,} lists of {result.users:,} users. {_left_out(result.excluded)}"
    return [
        f"## {result.protocol}",
        f"{_DESCRIPTIONS.get(result.protocol, '')} {asked}".strip(),
        _table(list(columns), [[cell(row) for cell in columns.values()] for row in result.rows]),
        "\n".join(f"- {row.name}: {row.note}" for row in result.rows if row.product and row.note),
        "NDCG@10 by the number of events before the list:",
        _groups([(row.name, row.histories) for row in result.rows]),
        f"NDCG@10 by the item: without any training event (cold), first seen less than {NEW_DAYS} days before the list "
        "(new), and all others (old):",
        _groups([(row.name, row.ages) for row in result.rows]),
    ]


def _cold(result: ColdResult) -> list[str]:
    questions = {
        "full": "hidden items among all",
        "cold": "hidden items among hidden ones",
        "warm": "known items among as many known ones",
    }
    rows = [
        [row.name, *(_number(row.recall[question]) for question in questions),
         f"{row.of_warm:.2f}" if math.isfinite(row.of_warm) else ""]
        for row in result.rows
    ]  # fmt: skip
    return [
        "## Cold-start items",
        f"{result.hidden:,} items, a tenth of all, are hidden from training and from all histories. The queries are "
        "from the last tenth of the events in time. The table shows recall@10 of one training. Chance is a random "
        "order:",
        _table(
            [
                "",
                *(f"{title} ({result.queries[question]:,})" for question, title in questions.items()),
                "hidden / known",
            ],
            [*rows, ["chance", *(_number(result.chance[question]) for question in questions), ""]],
        ),
        "`nearest text` orders items by the mean cosine of their text to the texts of the liked items. In `recstream, "
        "with exploration`, the positions that the default surface gives to new items go to the best of the items "
        "without a training event.",
    ]


def _left_out(excluded: Mapping[str, int]) -> str:
    texts = {
        "users_too_short": "Users with fewer than three liked items, who are only trained on: {}.",
        "targets_consumed_before": "Targets left out because the user had consumed the item before: {}.",
        "targets_tied": "Targets that share user and timestamp with another event, so a hash orders them: {}.",
    }
    return " ".join(texts[name].format(f"{count:,}") for name, count in excluded.items() if count)


def _not_measured(made: QualityResults) -> str:
    measured = {name for tuned in made.parameters.values() for name in tuned}
    missing = [name for name in NAMES if name not in measured]
    return f"Not measured here, but available with `--baselines`: {', '.join(missing)}." if missing else ""


def _parameters(protocol: str, tuned: Mapping[str, Tuned]) -> str:
    rows = [
        [name, ", ".join(f"{key} {'none' if v is None else v}" for key, v in found.parameters.items()),
         _number(found.ndcg), str(found.tried)]
        for name, found in tuned.items()
    ]  # fmt: skip
    return f"{protocol}:\n\n" + _table(
        [protocol, "parameters", "NDCG@10 on validation", "settings tried"], rows
    )


def _published(found: Sequence[Reproduction]) -> str:
    if not found:
        return ""
    return "Against published figures:\n\n" + "\n".join(f"- {each.sentence()}" for each in found)


def _groups(rows: Sequence[tuple[str, Mapping[str, Group]]]) -> str:
    names = list(dict.fromkeys(name for _, groups in rows for name in groups))
    counts = {name: next(groups[name].count for _, groups in rows if name in groups) for name in names}
    return _table(
        ["", *(f"{name} ({counts[name]:,})" for name in names)],
        [
            [row, *(_number(groups[name].ndcg) if name in groups else "" for name in names)]
            for row, groups in rows
        ],
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    return f"{value:.4f}"
