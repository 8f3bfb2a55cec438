"""Time of fold assignment at scale, and the balance of the folds, compared with scikit-learn.

    OMP_NUM_THREADS=1 python -m benchmarks.splitting > benchmarks/results/splitting.txt

Simulated image lists: 10,000 images of HAM10000's shape, 1 million images in 746,000 groups, and
400,000 images of 1,038 patients (ISIC 2024's shape: one class in a thousand). Five folds, seven or
two classes, sex, age band and body site. All assigners get the same arrays. StratifiedGroupKFold of
scikit-learn uses classes and groups only; iterative-stratification uses which attributes a group
has, not their counts. The time covers all five folds. Each assignment has a process of its own, so
that memory is comparable (MiB: whole process; added: during assignment); imports and compilation
are not included (see `first call`). "Off by" is the largest relative deviation of a class's images
in a fold from a fifth; "joint" is the mean, over all combinations of sex, age band and site and
over folds, of (count - fifth)^2 / fifth; "torn" counts groups in more than one fold. `--small` uses
a fiftieth of the two large lists.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

from benchmarks.machine import described

FOLDS = 5
SEX, AGE, SITE = (0.45, 0.54, 0.01), (0.02, 0.1, 0.25, 0.35, 0.22, 0.06), (0.3, 0.2, 0.15, 0.12)
HAM = (0.033, 0.051, 0.11, 0.011, 0.111, 0.67, 0.014)
MEBIBYTE = 1 << 20
SMALL = 10_000


class Roster(NamedTuple):
    """Numbers (N,) of every image's group, class, sex, age band and site."""

    member: np.ndarray
    labels: np.ndarray
    further: tuple[np.ndarray, ...]

    @property
    def joint(self) -> np.ndarray:
        """The combination of sex, age band and site (N,)."""
        sex, age, site = self.further
        return np.unique((sex * 10 + age) * 20 + site, return_inverse=True)[1]


def lesions(images: int, groups: int, rng: np.random.Generator) -> Roster:
    """Groups of one class each, most of one image, as lesions are."""
    extra = rng.choice(groups, images - groups, p=_skewed(groups, rng))
    member = np.sort(np.concatenate([np.arange(groups), extra]))
    labels = rng.choice(len(HAM), groups, p=HAM)[member]
    return Roster(member, labels, _people(groups, rng, member))


def patients(images: int, groups: int, rng: np.random.Generator) -> Roster:
    """Patients of hundreds of images, one in a thousand of them malignant."""
    member = np.sort(
        np.concatenate(
            [np.arange(groups), rng.choice(groups, images - groups, p=_skewed(groups, rng))]
        )
    )
    labels = (rng.random(images) < 0.001).astype(np.int64)  # noqa: PLR2004
    sex, age, _ = _people(groups, rng, member)
    site = rng.choice(10, images, p=_shares(10))
    return Roster(member, labels, (sex, age, site))


def _people(groups: int, rng: np.random.Generator, member: np.ndarray) -> tuple[np.ndarray, ...]:
    drawn = (rng.choice(len(shares), groups, p=shares) for shares in (SEX, AGE, _shares(15)))
    return tuple(values[member] for values in drawn)


def _shares(count: int) -> np.ndarray:
    weights = 1 / np.arange(1, count + 1)
    return weights / weights.sum()


def _skewed(groups: int, rng: np.random.Generator) -> np.ndarray:
    weights = rng.gamma(1.0, size=groups)
    return weights / weights.sum()


ROSTERS = {
    "HAM10000's shape": (lesions, 10_000, 7_460),
    "a million images": (lesions, 1_000_000, 746_000),
    "ISIC 2024's shape": (patients, 400_000, 1_038),
}


def ours(roster: Roster) -> np.ndarray:
    """The fold (N,) of every image by the greedy assigner of the bench."""
    from bench.folds.assign import assign_groups, count_attributes

    cohort = count_attributes(roster.member, roster.labels, roster.further, [roster.joint])
    rng = np.random.default_rng(0)
    return assign_groups(cohort, np.full(FOLDS, 1 / FOLDS), rng)[roster.member]


def theirs(roster: Roster) -> np.ndarray:
    """The fold (N,) of every image by scikit-learn."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    fold = np.empty(len(roster.labels), dtype=np.int64)
    features = np.zeros((len(fold), 1))
    for number, (_, test) in enumerate(splitter.split(features, roster.labels, roster.member)):
        fold[test] = number
    return fold


def iterative(roster: Roster) -> np.ndarray:
    """The fold (N,) of every image by iterative-stratification of groups."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    keys = (roster.labels, *roster.further)
    has = np.hstack([_held(roster.member, key) for key in keys])
    splitter = MultilabelStratifiedKFold(FOLDS, shuffle=True, random_state=0)
    fold = np.empty(len(has), dtype=np.int64)
    for number, (_, test) in enumerate(splitter.split(has, has)):
        fold[test] = number
    return fold[roster.member]


def _held(member: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which values (V,) every group (G,) has."""
    table = np.zeros((member.max() + 1, values.max() + 1), dtype=bool)
    table[member, values] = True
    return table


ASSIGNERS = {"bench": ours, "scikit-learn": theirs, "iterative-strat.": iterative}


def off_by(values: np.ndarray, fold: np.ndarray) -> float:
    """The largest relative deviation of a value's images in a fold from an equal share."""
    counts = _counts(values, fold)
    return float(np.abs(counts / counts.mean(axis=0) - 1).max())


def unevenness(values: np.ndarray, fold: np.ndarray) -> float:
    """Mean over values and folds of (count - share)^2 / share."""
    counts = _counts(values, fold)
    even = counts.mean(axis=0)
    return float(((counts - even) ** 2 / even).mean())


def _counts(values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    return np.stack(
        [np.bincount(values[fold == k], minlength=values.max() + 1) for k in range(FOLDS)]
    )


def measure(name: str, assigner: str, shrink: int) -> None:
    """Assign one image list once; print its line."""
    make, images, groups = ROSTERS[name]
    roster = make(images // shrink, groups // shrink, np.random.default_rng(1))
    begun = time.perf_counter()
    ASSIGNERS[assigner](lesions(200, 100, np.random.default_rng(2)))
    first = f"first call {time.perf_counter() - begun:.1f} s"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    fold = ASSIGNERS[assigner](roster)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    broken = len(np.unique(np.stack([roster.member, fold]), axis=1).T) - roster.member.max() - 1
    print(
        f"{name:<20}{assigner:<17}{wall:>9.2f}{cpu:>9.2f}{peak * 1024 / MEBIBYTE:>9.0f}"
        f"{(peak - before) * 1024 / MEBIBYTE:>8.0f}"
        f"{100 * off_by(roster.labels, fold):>11.3f}%{unevenness(roster.joint, fold):>10.3f}"
        f"{broken:>8}  {first}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a fiftieth of the large rosters")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, assigner = options.one
        measure(name, assigner, 50 if options.small and ROSTERS[name][1] > SMALL else 1)
        return
    packages = ("numpy", "numba", "scikit-learn", "iterative-stratification")
    print(f"{__doc__.partition(chr(10))[0]}\n\n{described(*packages)}\n")
    for name, (_, images, groups) in ROSTERS.items():
        print(
            f"{name}: {images:,} images of {groups:,} groups"
            + (" / 50" * (options.small and images > SMALL))
        )
    print(
        f"\n{'':<37}{'seconds':>9}{'cpu':>9}{'MiB':>9}{'added':>8}{'  class off by':>14}"
        f"{'joint':>8}{'torn':>8}  importing, compiling",
        flush=True,
    )
    for name in ROSTERS:
        for assigner in ASSIGNERS:
            words = [sys.executable, "-m", "benchmarks.splitting", "--one", name, assigner]
            subprocess.run([*words, *(["--small"] if options.small else [])], check=True)


if __name__ == "__main__":
    main()
