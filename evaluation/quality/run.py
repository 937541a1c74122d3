"""Trains and measures for all protocols. Each result is kept at once, so that an interrupted run resumes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from configuration.settings import Settings
from evaluation.baselines.comparison import POPULARITY, SEEDED, measured, tuned
from evaluation.baselines.reproduction import Reproduction, check_reproduction
from evaluation.baselines.tune import FORMAT, Tuned
from evaluation.data import Data, data_of, list_settings, teacher_methods, text_vectors
from evaluation.int8_comparison import with_int8_notes
from evaluation.methods.product import cold_methods, product_methods
from evaluation.methods.teacher import with_teacher_notes
from evaluation.metrics.beyond import Beyond
from evaluation.metrics.measure import Measured, mean, measure
from evaluation.protocols.cold import ColdResult, cold_items
from evaluation.protocols.held_out import PROTOCOLS, Name, Protocol
from evaluation.protocols.split import Split, split
from evaluation.quality.trained import Trainer
from evaluation.report.results import MeasuredMethod, Result, result
from evaluation.result_cache import RESULT_FORMAT, ResultCache, key_of
from models.export.compression.int8_bundle import COMPRESSION_FORMAT
from ranking.settings import DEFAULT_SURFACE
from readers.files import Files
from readers.packaged import movielens


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures.

    Attributes:
        folder: Keeps all models and results.
        seeds: One training per protocol for each.
        baselines: Baselines to compare with.
        cold: Whether to measure cold-start items too.
        jobs: Trainings at a time.
        surface: The surface whose lists are judged.
    """

    folder: Path
    seeds: Sequence[int]
    baselines: Sequence[str]
    cold: bool = True
    jobs: int = 1
    surface: str = DEFAULT_SURFACE


@dataclass(frozen=True, slots=True)
class QualityResults:
    """The results of a run.

    Attributes:
        results: The table of each protocol.
        training_seconds: Seconds of each training.
        training_threads: Threads of each training.
        parameters: Tuned parameters by protocol and baseline.
        reproductions: Whether the baselines reach the figures that were published for them.
        seeds: Number of seeds.
        cold: The results for cold-start items; None if they were not measured.
    """

    results: Sequence[Result]
    training_seconds: Sequence[float]
    training_threads: int
    parameters: dict[str, dict[str, Tuned]]
    reproductions: Sequence[Reproduction]
    seeds: int
    cold: ColdResult | None


class Quality:
    """Runs all trainings and measurements, by default on MovieLens-100K."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        console: Console,
        progress: Callable[[], AbstractContextManager[Progress]],
        data: Data | None = None,
        *,
        published: str = "ml-100k",
    ) -> None:
        """Args:
        settings: All settings.
        plan: What to measure.
        console: Where finished steps are printed.
        progress: Makes a context that shows progress.
        data: The data set. None: MovieLens-100K.
        published: Name of the data set, by which published figures of baselines are found.
        """
        self._settings, self._plan, self._console, self._progress = settings, plan, console, progress
        self._data = data or data_of(Files(movielens.interactions(), movielens.items(), []), settings)
        self._lists = list_settings(settings, plan.surface)
        self._results = ResultCache(plan.folder / "measured")
        self._trainer = Trainer(settings, plan.folder / "trained", self._data, console, progress)
        self._alone = self._trainer.without_teacher()
        self._published = published
        self._threads = settings.train.threads

    def run(self) -> QualityResults:
        """Trains and measures what is not kept yet. Raises ModelsError."""
        tests = {protocol: split(self._data.known, protocol) for protocol in PROTOCOLS}
        beyond = {protocol: Beyond(test) for protocol, test in tests.items()}
        wanted: list[tuple[Name, int]] = [
            (protocol, seed) for protocol in PROTOCOLS for seed in self._plan.seeds
        ]
        if self._plan.cold:
            wanted.append(("cold-items", self._plan.seeds[0]))
        self._trainer.train(wanted, self._plan.jobs)
        if self._alone is not None:
            self._alone.train([each for each in wanted if each[0] in PROTOCOLS], self._plan.jobs)
        products = {protocol: self._product(test, beyond[protocol]) for protocol, test in tests.items()}
        cold = self._cold() if self._plan.cold else None
        verdicts = [self._check_reproduction(name) for name in self._plan.baselines]
        results = []
        parameters: dict[str, dict[str, Tuned]] = {}
        for protocol, test in tests.items():
            parameters[protocol] = self._tuned(protocol)
            baselines = [
                self._baseline(test, beyond[protocol], verdict, parameters[protocol]) for verdict in verdicts
            ]
            results.append(result(test, [*products[protocol], *baselines], surface=self._plan.surface))
        threads = max(1, self._threads // self._plan.jobs)
        return QualityResults(
            results, self._trainer.seconds, threads, parameters, verdicts, len(self._plan.seeds), cold
        )

    def _product(self, test: Split, beyond: Beyond) -> list[MeasuredMethod]:
        """The methods of the product, as means over the seeds."""
        runs = [self._one_seed(test, beyond, seed) for seed in self._plan.seeds]
        rows = [
            MeasuredMethod(mean(seeds), baseline=False, seeds=len(seeds)) for seeds in zip(*runs, strict=True)
        ]
        return with_int8_notes(with_teacher_notes(test, rows))

    def _one_seed(self, test: Split, beyond: Beyond, seed: int) -> list[Measured]:
        trained = self._trainer.trained(test.name, seed)
        alone = None if self._alone is None else self._alone.trained(test.name, seed)
        key = key_of(
            "product",
            trained.key,
            test.name,
            self._lists.as_key(),
            RESULT_FORMAT,
            COMPRESSION_FORMAT,
            None if alone is None else alone.key,
        )

        def now() -> list[Measured]:
            with self._progress() as show:
                rows = product_methods(
                    test, self._data.items, self._data.catalogue, trained.bundle(), self._lists,
                    int8=trained.int8(), alone=None if alone is None else alone.bundle(),
                    threads=self._threads, show=show,
                )  # fmt: skip
                rows += teacher_methods(test, self._data, self._settings, trained.folder, None, show)
                lists = show.add_task(f"{test.name}, seed {seed}", total=len(test.queries) * len(rows))
                found = [measure(test, row, beyond, lambda done: show.advance(lists, done)) for row in rows]
            ndcg = found[0].figure("ndcg@10").mean()
            self._say(f"{test.name}, seed {seed}: NDCG@10 of {found[0].name} {ndcg:.4f}")
            return found

        return self._results.get_or_measure(key, now)

    def _cold(self) -> ColdResult:
        """Measures cold-start items with the first seed."""
        trained = self._trainer.trained("cold-items", self._plan.seeds[0])
        with self._progress() as show:
            text = text_vectors(self._data, self._settings, trained.folder.parent, show)
            rows = cold_methods(
                self._data.items, self._data.catalogue, trained.bundle(), self._lists, text,
                threads=self._threads, show=show,
            )  # fmt: skip
            lists = show.add_task("Lists of hidden items", total=None)
            return replace(
                cold_items(self._data.known, rows, lambda done: show.advance(lists, done)),
                surface=self._plan.surface,
            )

    def _tuned(self, protocol: Protocol) -> dict[str, Tuned]:
        with self._progress() as show:
            task = show.add_task("Baselines", total=None)
            return tuned(
                split(self._data.known, protocol, "validation"), self._plan.baselines, self._plan.folder / "tuning",
                threads=self._threads, say=lambda text: show.update(task, description=f"{protocol}: {text}"),
            )  # fmt: skip

    def _baseline(
        self, test: Split, beyond: Beyond, verdict: Reproduction, parameters: dict[str, Tuned]
    ) -> MeasuredMethod:
        """Measures a baseline: as a mean over the seeds if it depends on the seed, else once."""
        name = verdict.baseline
        seeds = self._plan.seeds if name in SEEDED else self._plan.seeds[:1]
        own = dict(parameters[name].parameters), dict(parameters[POPULARITY].parameters)
        runs = []
        for seed in seeds:
            key = key_of(name, test.known.fingerprint(), test.name, own, seed, FORMAT, RESULT_FORMAT)
            runs += self._results.get_or_measure(
                key, partial(self._measured, test, beyond, name, parameters, seed)
            )
        note = verdict.sentence() if verdict.verdict == "not reproduced" else ""
        return MeasuredMethod(mean(runs), baseline=True, seeds=len(seeds), note=note)

    def _measured(
        self, test: Split, beyond: Beyond, name: str, parameters: dict[str, Tuned], seed: int
    ) -> list[Measured]:
        with self._progress() as show:
            lists = show.add_task(f"{test.name}: {name}, seed {seed}", total=len(test.queries))
            found = measured(
                test, name, parameters, seed=seed, threads=self._threads,
                folder=self._plan.folder / "tuning", beyond=beyond,
                advance=lambda done: show.advance(lists, done),
            )  # fmt: skip
        self._say(f"{test.name}, seed {seed}: NDCG@10 of {name} {found.figure('ndcg@10').mean():.4f}")
        return [found]

    def _check_reproduction(self, name: str) -> Reproduction:
        with self._progress() as show:
            task = show.add_task("Published figures", total=None)
            return check_reproduction(
                name, self._published, self._data.known, self._plan.folder / "published",
                threads=self._threads, say=lambda text: show.update(task, description=text),
            )  # fmt: skip

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)
