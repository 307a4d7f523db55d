"""Measure the coverage and the width of the 95% intervals of agreement, with simulated labelers.

    python bench/agreement.py [--samples 400] [--replicates 400]

Each kind of labelers is simulated on many prompts for its true agreement, then sampled repeatedly on few prompts. A
candidate has a worth; two labelers see it with noise, and rank and rate what they see. Some kinds reverse the second
labeler's order on a share of the prompts: rare disagreement on whole prompts is hardest for an interval. Needs no
database. Prints one JSON line at the end.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from exports.agreement.measure import Agreement, Answer, measure
from exports.agreement.pairs import TieRule

PROMPTS = (20, 50, 200)
STATISTICS = ("micro", "macro", "tau_b", "alpha")
FOR_THE_TRUTH = 20_000


@dataclass(frozen=True)
class Labelers:
    """noise: in standard deviations of worth. turned: share of prompts that the second labeler orders backwards."""

    candidates: int
    noise: float
    turned: float = 0.0

    def answers(self, prompts: int, random: np.random.Generator) -> Iterator[Answer]:
        for prompt in range(prompts):
            worth = random.normal(size=self.candidates)
            backwards = random.random() < self.turned
            for labeler in (1, 2):
                seen = worth + self.noise * random.normal(size=self.candidates)
                if backwards and labeler == 2:
                    seen = -seen
                ranks = np.argsort(np.argsort(-seen)) + 1
                ratings = np.clip(np.round(4 + seen), 1, 7)
                yield Answer(prompt, prompt, labeler, tuple(map(int, ranks)), tuple(map(int, ratings)))

    def measured(self, prompts: int, *, seed: int, replicates: int) -> Agreement:
        answers = list(self.answers(prompts, np.random.default_rng([seed, prompts])))
        return measure(answers, rule=TieRule.EXCLUDE, seed=seed, replicates=replicates)


KINDS = {
    "4 candidates, usual": Labelers(4, 1.0),
    "9 candidates, usual": Labelers(9, 1.0),
    "4 candidates, nearly sure": Labelers(4, 0.1),
    "4 candidates, sure, 2 % turned": Labelers(4, 0.0, 0.02),
    "9 candidates, nearly sure, 3 % turned": Labelers(9, 0.02, 0.03),
    "9 candidates, good, 10 % turned": Labelers(9, 0.3, 0.1),
}


def coverage(labelers: Labelers, prompts: int, *, samples: int, replicates: int) -> dict[str, tuple[float, float]]:
    """For each statistic, the share of intervals that contain the true value, and their mean width."""
    truth = labelers.measured(FOR_THE_TRUTH, seed=0, replicates=2)
    held, width = dict.fromkeys(STATISTICS, 0), dict.fromkeys(STATISTICS, 0.0)
    for seed in range(1, samples + 1):
        found = labelers.measured(prompts, seed=seed, replicates=replicates)
        for name in STATISTICS:
            estimate, true = getattr(found, name), getattr(truth, name).value
            held[name] += estimate.low <= true <= estimate.high
            width[name] += estimate.high - estimate.low
    return {name: (held[name] / samples, width[name] / samples) for name in STATISTICS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--replicates", type=int, default=400)
    asked = parser.parse_args()
    least = 1.0
    for name, labelers in KINDS.items():
        for prompts in PROMPTS:
            found = coverage(labelers, prompts, samples=asked.samples, replicates=asked.replicates)
            said = ", ".join(f"{one} {share:.1%} (width {width:.3f})" for one, (share, width) in found.items())
            print(f"{name}, {prompts} prompts: {said}", flush=True)
            least = min(least, *(share for share, _width in found.values()))
    print(json.dumps({"samples": asked.samples, "least_coverage": round(least, 4)}))


if __name__ == "__main__":
    main()
