"""False positives and power of both verdicts and of the earlier rule, on simulated methods.

    OMP_NUM_THREADS=1 python -m benchmarks.verdicts --sets 400 > benchmarks/results/verdicts.txt

Each data set is new: groups with a class, images with features. Two methods learn linear
discriminants, each from 12 other features; three quarters of the variance of a group's effect
are common to both. With luck of training, each training sees a random 15% of its training part;
without it, all of it. Under the null both methods have features of the same quality; under the
alternative those of the first are better by so much that its macro-F1 is 3 points higher (found by
bisection on data sets that are not used again; the achieved mean difference is printed).

    1 training    five folds, one training each
    3 seeds       the same folds, three trainings each
    5 repeats     five divisions into five folds, one training each

Rules: the two verdicts as `bench.score.verdicts` gives them for one pair, and the earlier rule,
which needed the paired interval and the corrected resampled t test (Nadeau & Bengio 2003), once for
two rows and once with p multiplied by 28, the number of pairs of eight rows.

Nothing is tuned to pass. Aims: the verdict on methods rejects 3 to 7% of true null hypotheses, and
finds 3 points in 75% or more of the data sets with 3 seeds. What is more than two Monte Carlo
standard errors outside is marked MISSES.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from bench.score.bootstrap import Plan
from bench.score.significance import nadeau_bengio
from bench.score.verdicts import Contender, compare_rows
from benchmarks.machine import described

LEVEL, FOLDS, FEATURES, SHARED = 0.95, 5, 12, 0.75
RATIO = 0.2 / 0.7
"""Test to training images of the protocols, as the earlier rule used it."""
PAIRS_OF_EIGHT = 28
AIM, PILOTS, STEPS = 0.03, 12, 6
SHARES = (0.15, 1.0)
"""Share of the training part that a training sees, at random: with and without luck."""
DESIGNS = {"1 training": (1, 1), "3 seeds": (3, 1), "5 repeats": (1, 5)}
"""Seeds and repeats."""


@dataclass(frozen=True)
class Shape:
    """Groups and images by class, and the size of the class effect."""

    title: str
    groups: tuple[int, ...]
    images: tuple[int, ...]
    skill: float


SHAPES = (
    Shape(
        "HAM10000: 7,385 groups, 10,015 images, 7 classes",
        (228, 326, 697, 71, 612, 5353, 98),
        (327, 514, 1099, 115, 1113, 6705, 142),
        0.55,
    ),
    Shape("200 lesions of one image, 3 classes", (90, 60, 50), (90, 60, 50), 0.55),
    Shape(
        "400 patients of three images, 7 classes",
        (40, 45, 60, 25, 60, 140, 30),
        (120, 135, 180, 75, 180, 420, 90),
        0.55,
    ),
)


@dataclass(frozen=True)
class Sample:
    """One data set: label (N,) and group (N,) of every image, features (2, N, F) by method."""

    label: np.ndarray
    group: np.ndarray
    features: np.ndarray


def draw(shape: Shape, gain: float, rng: np.random.Generator) -> Sample:
    """A data set. gain is added to the skill of the first method."""
    classes = len(shape.groups)
    effects = np.random.default_rng(1).normal(size=(classes, FEATURES))  # the same everywhere
    own = np.repeat(np.arange(classes), shape.groups)
    owner = np.arange(len(own))
    further = [
        rng.choice(np.flatnonzero(own == code), shape.images[code] - shape.groups[code])
        for code in range(classes)
    ]
    group = np.sort(np.concatenate([owner, *further]))
    label = own[group]
    common = rng.normal(size=(len(own), FEATURES))
    features = []
    for skill in (shape.skill + gain, shape.skill):
        alone = rng.normal(size=(len(own), FEATURES))
        of_group = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * alone
        noise = 0.5 * rng.normal(size=(len(group), FEATURES))
        features.append(skill * effects[label] + of_group[group] + noise)
    return Sample(label, group, np.stack(features))


def predict(
    features: np.ndarray, label: np.ndarray, train: np.ndarray, test: np.ndarray, classes: int
) -> np.ndarray:
    """Classes of the test images by a linear discriminant with the classes' shares."""
    x, y = features[train], label[train]
    counts = np.bincount(y, minlength=classes)
    means = np.stack(
        [x[y == code].mean(axis=0) if counts[code] else 0 * x[0] for code in range(classes)]
    )
    centred = x - means[y]
    spread = centred.T @ centred / max(1, len(x) - classes) + 1e-3 * np.eye(x.shape[1])
    weights = np.linalg.solve(spread, means.T)
    prior = np.log(np.maximum(counts, 0.5) / len(x))
    scores = features[test] @ weights - 0.5 * (means.T * weights).sum(axis=0) + prior
    return np.asarray(scores.argmax(axis=1))


def passes(
    sample: Sample,
    method: int,
    share: float,
    seeds: int,
    repeats: int,
    rng: np.random.Generator,
) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """Key, fold of every image and predicted class of every image, by seed and repeat."""
    groups = int(sample.group.max()) + 1
    classes = int(sample.label.max()) + 1
    for repeat in range(repeats):
        fold = np.random.default_rng(repeat).permutation(groups)[sample.group] % FOLDS
        for seed in range(seeds):
            predicted = np.empty(len(sample.label), dtype=np.int64)
            for at in range(FOLDS):
                train = np.flatnonzero(fold != at)
                if share < 1:
                    train = rng.choice(train, max(60, int(share * len(train))), replace=False)
                test = np.flatnonzero(fold == at)
                predicted[test] = predict(
                    sample.features[method], sample.label, train, test, classes
                )
            yield (seed, repeat), fold, predicted


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Macro-F1 (R,) of confusion matrices (C, C, R), truth in rows."""
    hits = np.einsum("ccr->cr", confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.asarray((2 * hits / np.maximum(total, 1)).mean(axis=0))


def contender(
    name: str,
    sample: Sample,
    runs: list[tuple[tuple[int, int], np.ndarray, np.ndarray]],
    weights: np.ndarray,
) -> Contender:
    """A method as the bench compares it. weights (G, R): how often each group is drawn."""
    classes, groups = int(sample.label.max()) + 1, len(weights)
    by_pass, replicates, by_fold = {}, [], {}
    for key, fold, predicted in runs:
        cell = sample.label * classes + predicted
        ones = np.ones(len(cell))
        table = csr_matrix((ones, (cell, sample.group)), shape=(classes**2, groups))
        drawn = np.asarray(table @ weights).reshape(classes, classes, -1)
        replicates.append(macro_f1(drawn))
        counts = np.bincount(cell, minlength=classes**2).reshape(classes, classes, 1)
        by_pass[key] = float(macro_f1(counts.astype(float))[0])
        folds = [
            macro_f1(
                np.bincount(cell[fold == at], minlength=classes**2)
                .reshape(classes, classes, 1)
                .astype(float)
            )[0]
            for at in range(FOLDS)
        ]
        by_fold.setdefault(key[1], []).append(folds)
    return Contender(
        name=name,
        value=float(np.mean(list(by_pass.values()))),
        replicates=np.mean(replicates, axis=0),
        by_fold=np.concatenate([np.mean(by_fold[repeat], axis=0) for repeat in sorted(by_fold)]),
        by_pass=by_pass,
        folds=FOLDS,
        trainings=FOLDS * len(by_pass),
    )


def gain_for(shape: Shape, share: float) -> float:
    """The gain of skill that makes the first method better by AIM, by bisection."""
    low, high = 0.0, shape.skill
    for _ in range(STEPS):
        gain = (low + high) / 2
        gaps = [np.subtract(*values) for values in _pilot_values(shape, gain, share)]
        low, high = (gain, high) if np.mean(gaps) < AIM else (low, gain)
    return (low + high) / 2


def _pilot_values(shape: Shape, gain: float, share: float) -> Iterator[list[float]]:
    for number in range(PILOTS):
        rng = np.random.default_rng([2, number])
        sample = draw(shape, gain, rng)
        nothing = np.ones((int(sample.group.max()) + 1, 1))
        yield [
            contender("", sample, list(passes(sample, method, share, 1, 1, rng)), nothing).value
            for method in (0, 1)
        ]


def outcomes(
    shape: Shape,
    gain: float,
    share: float,
    sets: int,
    resamples: int,
) -> tuple[dict[str, float], float]:
    """How often each rule shows a difference, and the mean difference over the data sets."""
    shown: dict[str, list[bool]] = {}
    gaps = []
    for number in range(sets):
        rng = np.random.default_rng([1, number])
        sample = draw(shape, gain, rng)
        groups = int(sample.group.max()) + 1
        plan = Plan(groups, resamples, number)
        batches = [batch.astype(np.float64) for batch in plan.batches(0, resamples)]
        weights = np.concatenate(batches, axis=1)[:, :resamples]
        for design, (seeds, repeats) in DESIGNS.items():
            rows = [
                contender(
                    name,
                    sample,
                    list(passes(sample, method, share, seeds, repeats, rng)),
                    weights,
                )
                for method, name in enumerate("ab")
            ]
            (pair,) = compare_rows(rows, "macro_f1", LEVEL, groups)
            better = ("better", "worse")
            results = {
                f"these models, {design}": pair.models in better,
                f"these methods, trained again, {design}": pair.methods in better,
            }
            if repeats == 1 == seeds:
                p = nadeau_bengio(rows[0].by_fold - rows[1].by_fold, RATIO)
                apart = pair.low > 0 or pair.high < 0
                results["earlier rule, 1 training, two rows"] = apart and p < 1 - LEVEL
                adjusted = min(1.0, PAIRS_OF_EIGHT * p)
                results["earlier rule, 1 training, eight rows"] = apart and adjusted < 1 - LEVEL
                gaps.append(pair.difference)
            for rule, result in results.items():
                shown.setdefault(rule, []).append(bool(result))
    return {rule: float(np.mean(results)) for rule, results in shown.items()}, float(np.mean(gaps))


def misses(rule: str, false_positives: float, power: float, sets: int) -> str:
    """MISSES if the verdict on methods is outside its aims by two Monte Carlo standard errors."""
    if not rule.startswith("these methods"):
        return ""
    error = 2 * np.sqrt(0.05 * 0.95 / sets)
    outside = not 0.03 - error <= false_positives <= 0.07 + error
    weak = rule.endswith("3 seeds") and power < 0.75 - 2 * np.sqrt(0.75 * 0.25 / sets)
    return " MISSES" if outside or weak else ""


def table(shape: Shape, share: float, sets: int, resamples: int) -> list[str]:
    """The lines of one cell of the benchmark."""
    gain = gain_for(shape, share)
    null, _ = outcomes(shape, 0.0, share, sets, resamples)
    power, gap = outcomes(shape, gain, share, sets, resamples)
    luck = f"each training sees {share:.0%} of its part" if share < 1 else "no luck of training"
    head = f"{shape.title}; {luck}; {sets} data sets, mean difference {100 * gap:.1f} points"
    lines = [
        f"{rule:<46}{null[rule]:>10.1%}{power[rule]:>10.1%}"
        f"{misses(rule, null[rule], power[rule], sets)}"
        for rule in null
    ]
    return ["", head, f"{'rule':<46}{'false pos.':>10}{'power':>10}", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    request = parser.parse_args()
    print(__doc__, described("numpy", "scipy"), sep="\n", flush=True)
    for shape in SHAPES:
        for share in SHARES:
            print("\n".join(table(shape, share, request.sets, request.resamples)), flush=True)


if __name__ == "__main__":
    main()
