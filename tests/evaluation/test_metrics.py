"""Without ties, figures equal trec_eval's. With ties, they are the mean over all orders of equal scores."""

import itertools

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics.accuracy import LENGTHS, NAMES, judged, positions

# Their names in trec_eval.
TREC = {"hr": "success", "ndcg": "ndcg_cut", "recall": "recall"}


def one_list(scores: list[float], relevant: list[int], gains: list[float] | None = None) -> dict[str, float]:
    found = positions(np.array([scores], np.float32), [np.array(relevant, np.int64)])
    figures = judged(found, 1, None if gains is None else np.array(gains))
    return dict(zip(NAMES, figures[0].tolist(), strict=True))


def by_trec_eval(scores: list[float], gains: dict[int, int]) -> dict[str, float]:
    asked = {f"{name}.5,10,20" for name in TREC.values()} | {"recip_rank"}
    run = {"q": {str(item): score for item, score in enumerate(scores) if np.isfinite(score)}}
    found = pytrec_eval.RelevanceEvaluator({"q": {str(i): g for i, g in gains.items()}}, asked).evaluate(run)[
        "q"
    ]
    figures = {f"{ours}@{k}": found[f"{theirs}_{k}"] for ours, theirs in TREC.items() for k in LENGTHS}
    reciprocal = found["recip_rank"]
    # trec_eval's reciprocal rank has no cutoff.
    return figures | {f"mrr@{k}": reciprocal if reciprocal >= 1 / k - 1e-9 else 0.0 for k in LENGTHS}


@given(st.data())
def test_without_ties_figures_are_those_of_trec_eval(data: st.DataObject) -> None:
    items = data.draw(st.integers(1, 40))
    scores = [float(place) for place in data.draw(st.permutations(range(items)))]
    for unlisted in data.draw(st.sets(st.integers(0, items - 1), max_size=items - 1)):
        scores[unlisted] = -np.inf
    relevant = sorted(data.draw(st.sets(st.integers(0, items - 1), min_size=1)))
    gains = data.draw(st.lists(st.integers(1, 4), min_size=len(relevant), max_size=len(relevant)))
    expected = by_trec_eval(scores, dict(zip(relevant, gains, strict=True)))
    assert one_list(scores, relevant, [float(gain) for gain in gains]) == pytest.approx(expected, abs=1e-6)


def test_the_graded_example_with_two_relevant_items_missing() -> None:
    gains = {0: 3, 1: 2, 2: 3, 3: 0, 4: 1, 5: 2, 6: 3, 7: 2}
    scores = [6.0, 5, 4, 3, 2, 1, -np.inf, -np.inf]
    relevant = [item for item, gain in gains.items() if gain]
    found = positions(np.array([scores], np.float32), [np.array(relevant)])
    graded = np.array([float(gains[item]) for item in relevant])
    dcg = (graded * found.discounts(6)).sum()
    ideal = sum(gain / np.log2(place + 2) for place, gain in enumerate(sorted(graded, reverse=True)[:6]))
    assert dcg / ideal == pytest.approx(0.785, abs=5e-4)
    evaluator = pytrec_eval.RelevanceEvaluator(
        {"q": {str(i): g for i, g in gains.items()}}, {"ndcg_cut.6,10"}
    )
    run = {"q": {str(item): score for item, score in enumerate(scores) if np.isfinite(score)}}
    trec = evaluator.evaluate(run)["q"]
    assert trec["ndcg_cut_6"] == pytest.approx(dcg / ideal, abs=1e-6)
    assert one_list(scores, relevant, graded.tolist())["ndcg@10"] == pytest.approx(
        trec["ndcg_cut_10"], abs=1e-6
    )


@pytest.mark.parametrize("listed", [0, 3])
def test_a_list_shorter_than_k_is_judged_by_what_it_holds(listed: int) -> None:
    scores = [9.0 - item if item < listed else -np.inf for item in range(12)]
    figures = one_list(scores, [2, 8])
    assert figures["recall@10"] == (0.5 if listed else 0)
    assert figures["hr@10"] == (1 if listed else 0) and figures["mrr@10"] == pytest.approx(
        1 / 3 if listed else 0
    )
    assert all(np.isfinite(value) for value in figures.values())


@given(st.lists(st.integers(0, 2), min_size=2, max_size=6), st.data())
def test_equal_scores_give_the_mean_over_all_their_orders(levels: list[int], data: st.DataObject) -> None:
    relevant = sorted(data.draw(st.sets(st.integers(0, len(levels) - 1), min_size=1)))
    # All orders of the items. Each breaks the ties in its own way.
    orders = np.array(list(itertools.permutations(range(len(levels)))))
    broken = (np.array(levels) + orders / 100).astype(np.float32)
    figures = judged(positions(broken, [np.array(relevant)] * len(orders)), len(orders))
    expected = dict(zip(NAMES, figures.mean(0), strict=True))
    assert one_list([float(level) for level in levels], relevant) == pytest.approx(expected, abs=1e-9)


def test_many_equal_scores_cut_by_the_end_of_the_list() -> None:
    figures = one_list([5.0, 5.0] + [1.0] * 40, [10, 11])
    # Two of ten positions are fixed. The other eight are drawn from forty items.
    missed = (32 * 31) / (40 * 39)
    assert figures["hr@10"] == pytest.approx(1 - missed) and figures["recall@10"] == pytest.approx(8 / 40)


def test_items_with_nan_scores_are_not_listed() -> None:
    assert one_list([np.nan, 1.0, 2.0], [0])["hr@10"] == 0
    assert one_list([np.nan, 1.0, 2.0], [1])["mrr@10"] == 0.5
