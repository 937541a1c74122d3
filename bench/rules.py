"""What each rule of a list costs over the plain list: selection alone, without the model.

    bin/bench rules [--repeats 50] [--seconds 20]

For 20 of 500 and for 500 of 1,500 random candidates of width 128. Plain and ruled selections take turns. Prints one
JSON document: the median milliseconds of a selection, and what the rule adds. They are of CPU time, which a busy
machine changes least, and a selection waits for nothing.
"""

import argparse
import json
import time
from statistics import median

import numpy as np

from ranking.rules.boosts import Boost
from ranking.rules.candidate_rules import NO_CANDIDATE_RULES, CandidateRules
from ranking.rules.placement import Cap, Pin, Quota
from ranking.rules.rotation import rotated
from ranking.selector import select
from ranking.settings import SurfaceSettings

WIDTH = 128
SIZES = ((500, 20), (1_500, 500))


def rules_of(rng: np.random.Generator, candidates: int, count: int) -> dict[str, CandidateRules]:
    """Each rule by itself, and all of them."""
    vectors = rng.normal(size=(candidates, WIDTH)).astype(np.float32)
    masks = rng.random((32, candidates)) < 0.1
    boosts = tuple(Boost(f"boost {n}", mask, 0.5) for n, mask in enumerate(masks))
    pins = tuple(
        Pin(int(each), n) for n, each in enumerate(rng.permutation(candidates)[: min(20, count // 2)])
    )
    caps = tuple(Cap(rng.integers(-1, 20, candidates), max(1, count // 10)) for _ in range(2))
    promotions = tuple(Quota(mask, count // 5) for mask in masks[:2])
    names = tuple(f"promotion {n}" for n in range(len(promotions)))
    rotation = rotated(rng.integers(0, 5, candidates), 0.5)
    return {
        "32 boosts": CandidateRules(boosts=boosts),
        "pins": CandidateRules(pins=pins),
        "2 promotions": CandidateRules(promotions=promotions, promotion_names=names),
        "2 caps": CandidateRules(caps=caps),
        "diversity": CandidateRules(diversity=0.3, vectors=vectors),
        "rotation": CandidateRules(rotation=rotation),
        "all": CandidateRules(
            boosts=boosts,
            rotation=rotation,
            pins=pins,
            caps=caps,
            promotions=promotions,
            promotion_names=names,
            diversity=0.3,
            vectors=vectors,
        ),
    }


def measure(candidates: int, count: int, repeats: int, until: float) -> dict[str, dict[str, float]]:
    """Milliseconds by rule."""
    rng = np.random.default_rng(1)
    scores, categories = rng.normal(size=candidates), rng.integers(-1, 10, candidates)
    fresh, settings = rng.random(candidates) < 0.05, SurfaceSettings()
    ids = [f"item-{n}" for n in range(candidates)]

    def timed(rules: CandidateRules) -> float:
        begun = time.process_time()
        select(scores, ids.__getitem__, categories, fresh, count, settings, rules)
        return (time.process_time() - begun) * 1000

    found = {}
    for name, rules in rules_of(rng, candidates, count).items():
        plain, ruled = [timed(NO_CANDIDATE_RULES)], [timed(rules)]
        while len(ruled) < repeats and (time.process_time() < until or len(ruled) < 3):
            plain.append(timed(NO_CANDIDATE_RULES))
            ruled.append(timed(rules))
        found[name] = {
            "plain": round(median(plain), 3),
            "ruled": round(median(ruled), 3),
            "added": round(median(ruled) - median(plain), 3),
        }
    return found


def main(repeats: int, seconds: float) -> None:
    begun = time.process_time()
    result = {
        f"{count} of {candidates}": measure(
            candidates, count, repeats, begun + seconds * (at + 1) / len(SIZES)
        )
        for at, (candidates, count) in enumerate(SIZES)
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    main(arguments.repeats, arguments.seconds)
