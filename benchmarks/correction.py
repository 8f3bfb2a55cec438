"""How large the corrected t test's correction would have to be, and what its rejections become.

    OMP_NUM_THREADS=1 python -m benchmarks.correction > benchmarks/results/correction.txt

Nadeau & Bengio (2003, section 3) widen the naive t test over folds by test/train. They derive it
for losses that depend on the training part through its size alone: two test parts then share images
with probability test/all, and nothing else makes their differences alike. Here that is put to the
test under true nulls, those of `benchmarks.coverage`: two algorithms of equal worth on features
exchangeable with each other, 70% train, 10% val, 20% test.

Needed is the ratio that would have been right: variance of the mean difference over data sets, by
the mean variance over folds, less one by the number of folds. Then how often the test rejects at
5%: with 20/70 (val not counted, as the bench does), with 20/80 (val counted as training), with the
needed ratio (5% here means that the degrees of freedom are right), and with none (naive).

`discriminant` learns; `known` uses the true centres and learns nothing, the case that the
derivation is for.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr

from benchmarks.coverage import FOLDS, LEVEL, discriminant, macro_f1
from benchmarks.machine import described

METRICS = ("macro_f1", "accuracy", "log_loss")
CENTRES = 0.6 * np.eye(3, 8)
SHARES = np.array([0.2, 0.3, 0.5])
NOISE = 1.25  # variance of a feature: 1 of the lesion, 0.25 of the image


class Setting(NamedTuple):
    """Lesions of a data set, who classifies, and data sets as a share of those asked for."""

    lesions: int
    learner: str
    share: float


SETTINGS = (
    Setting(200, "known", 1),
    Setting(200, "discriminant", 1),
    Setting(800, "discriminant", 0.5),
    Setting(3200, "discriminant", 0.15),
)


def known(_features: np.ndarray, _truth: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Logits of the discriminant that knows the population."""
    weights = CENTRES.T / NOISE
    logits: np.ndarray = new @ weights - 0.5 * (CENTRES.T * weights).sum(axis=0) + np.log(SHARES)
    return logits


LEARNERS = {"known": known, "discriminant": discriminant}


def scores(logits: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Macro-F1, accuracy and log loss of logits (N, 3)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = odds / odds.sum(axis=1, keepdims=True)
    called = probs.argmax(axis=1)
    own = probs[np.arange(len(truth)), truth]
    return macro_f1(truth, called), float((called == truth).mean()), float(-np.log(own).mean())


def differences(setting: Setting, seed: int, repeats: int) -> np.ndarray:
    """One data set's differences between the two algorithms (3 metrics, repeats x folds)."""
    rng = np.random.default_rng([8, seed])
    lesions, learn = setting.lesions, LEARNERS[setting.learner]
    lesion_class = np.repeat([0, 1, 2], np.array([40, 60, 100]) * lesions // 200)
    group = np.repeat(np.arange(lesions), 1 + rng.poisson(1.0, lesions))
    truth = lesion_class[group]
    kinds = [
        CENTRES[truth]
        + rng.normal(size=(lesions, 8))[group]
        + 0.5 * rng.normal(size=(len(group), 8))
        for _ in range(2)
    ]
    found = []
    for _ in range(repeats):
        place = rng.permutation(lesions)[group] % (2 * FOLDS)
        for fold in range(FOLDS):
            test = place % FOLDS == fold
            train = ~test & (place != (fold + 1) % FOLDS)
            first, second = (
                scores(learn(kind[train], truth[train], kind[test]), truth[test]) for kind in kinds
            )
            found.append(np.subtract(first, second))
    return np.stack(found, axis=1)


def rejected(gaps: np.ndarray, correction: float) -> float:
    """Share of data sets (S, J) in which t with this correction finds a difference at 5%."""
    count = gaps.shape[1]
    t = gaps.mean(axis=1) / np.sqrt((1 / count + correction) * gaps.var(axis=1, ddof=1))
    return float(np.mean(2 * stdtr(count - 1, -np.abs(t)) < 1 - LEVEL))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    asked = parser.parse_args()
    print(__doc__, described("numpy", "scipy"), sep="\n", flush=True)
    heads = ("needed", "20/70", "20/80", "by needed", "naive")
    for repeats in (5, 1):
        print(f"\n{repeats} x {FOLDS} folds\n{'':<46}" + "".join(f"{one:>10}" for one in heads))
        for setting in SETTINGS:
            sets = max(2, round(asked.sets * setting.share))
            made = np.stack([differences(setting, seed, repeats) for seed in range(sets)])
            for metric, gaps in zip(METRICS, made.transpose(1, 0, 2), strict=True):
                spread = gaps.mean(axis=1).var() / gaps.var(axis=1, ddof=1).mean()
                needed = float(spread) - 1 / gaps.shape[1]
                what = f"{setting.lesions} lesions x {sets}, {setting.learner}, {metric}"
                sizes = (rejected(gaps, ratio) for ratio in (2 / 7, 2 / 8, needed, 0.0))
                cells = "".join(f"{size:>10.1%}" for size in sizes)
                print(f"{what:<46}{needed:>10.3f}{cells}", flush=True)


if __name__ == "__main__":
    main()
