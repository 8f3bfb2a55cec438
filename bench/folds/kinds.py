"""Kinds of splits: group k-fold, hold-out, source hold-out, learning curve, leakage meter.

Native groups are joined where known duplicates connect them. Then each kind of split assigns whole
groups to folds; the roles name the joined groups, which the bootstrap resamples.

groupkfold      Each fold is the test part once per repeat. `split.dealer` names the assigner:
                "greedy" (`assign`) or "iterative" (`iterative`). The greedy val part of a fold is a
                balanced share of the next fold (or all of it and more), so an image is val at most
                once unless val is larger than a fold.
source-holdout  A fold tests all images of one source. Groups with images from several sources are
                tested by their images of that source; their other images are left out of the fold,
                so no sibling of a test image is in train or val. A source may lack classes; the
                protocol declares them.
learning-curve  The first arm is group k-fold. Each further arm keeps a share of the training groups
                of the arm before it, balanced in everything that the split stratifies by. The
                training parts are nested; the remaining groups are left out.
leakage-meter   Measures the optimism of a split that divides groups. Two models have the same test
                images and the same val part. Their training parts have the same number of images
                and of groups of each class and source; they differ only in whether siblings of the
                test images are among them. (A comparison of a grouped with an ungrouped split
                cannot measure this: the test parts differ. Adding siblings changes the size of the
                training part; random replacement changes its class shares: melanoma is 20% of
                HAM10000's siblings and 11% of its images.)

How the leakage meter is drawn:

1. Val takes whole groups, groups of one image first.
2. In every further group with several images of one class and source (the rarest such class), one
   image at random is the test image; the others are its siblings.
3. These groups are paired at random within class and source, groups with many siblings first. The
   first of a pair is tested in fold 0, the second in fold 1. Siblings are exchanged within pairs;
   HAM10000 has too few lesions of one image for an exchange with those (70 melanomas of
   `vidir_modern` against 257 tested lesions).
4. In each fold, the clean arm trains on the siblings of groups that the fold does not test, the
   leaky arm on the siblings of groups that it does test. Both train on all groups of one image and
   on the groups without a partner. Surplus siblings of the larger group of a pair are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.dataset import Dataset
from bench.errors import ProtocolError, RolesError, listing
from bench.folds.assign import MISSING, Cohort, Pair, join_groups, stratify_by
from bench.folds.iterative import assign_iteratively
from bench.protocol import (
    LEFT_OUT,
    PARTS,
    TEST,
    TRAIN,
    VAL,
    Assigner,
    Kind,
    Roles,
    Split,
    arm_share,
)

FEWEST_OUTSIDE_TEST = 2  # one group for train, one for val


def draw_groupkfold(dataset: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, folds x repeats) uint8; the same arguments return the same parts.

    Raises ProtocolError if the shares leave no train part, RolesError if a class has too few
    groups.
    """
    if split.val + 1 / split.folds >= 1:
        raise ProtocolError(
            f"split.val: {split.val} for val and 1/{split.folds} for test leave no train part"
        )
    cohort = Cohort(dataset, split, group_ids)
    needed = split.folds if split.folds > FEWEST_OUTSIDE_TEST else 2 * FEWEST_OUTSIDE_TEST
    cohort.refuse_few_groups(needed, f"{split.folds} folds need")
    columns = [
        parts
        for repeat in range(split.repeats)
        for parts in ASSIGNERS[split.dealer](
            cohort, split, np.random.default_rng((split.seed, repeat))
        )
    ]
    return np.stack([parts[cohort.member] for parts in columns], axis=1)


def draw_imagekfold(dataset: Dataset, split: Split, _group_ids: np.ndarray) -> np.ndarray:
    """Group k-fold with every image as one group: a control that divides patients on purpose."""
    return draw_groupkfold(dataset, split, dataset.image_ids)


def draw_holdout(dataset: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, 1) uint8 of one fold with shares for val and test.

    Raises RolesError if a class has fewer than three groups.
    """
    cohort = Cohort(dataset, split, group_ids)
    cohort.refuse_few_groups(len(PARTS) - 1, "three parts need")
    test = split.test or 0.0
    shares = np.array([1 - split.val - test, split.val, test])
    rng = np.random.default_rng((split.seed, 0))
    part_of = cohort.assign(np.arange(len(cohort.images)), shares, rng, split.candidates)
    parts: np.ndarray = np.array([TRAIN, VAL, TEST], dtype=np.uint8)[part_of]
    column: np.ndarray = parts[cohort.member]
    return column[:, None]


def _assign_greedily(cohort: Cohort, split: Split, rng: np.random.Generator) -> list[np.ndarray]:
    """The part of every group in each fold of one repeat: `folds` arrays (G,) uint8."""
    groups = np.arange(len(cohort.images))
    shares = np.full(split.folds, 1 / split.folds)
    fold_of = cohort.assign(groups, shares, rng, split.candidates)
    samples = [
        cohort.sample(np.flatnonzero(fold_of == fold), split.val * split.folds, rng)
        for fold in range(split.folds)
    ]
    columns = []
    for fold in range(split.folds):
        parts = np.full(len(groups), TRAIN, dtype=np.uint8)
        parts[fold_of == fold] = TEST
        parts[_draw_val(cohort, split, fold, fold_of, samples, rng)] = VAL
        columns.append(parts)
    return columns


def _draw_val(
    cohort: Cohort,
    split: Split,
    fold: int,
    fold_of: np.ndarray,
    samples: list[np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """The val groups of a fold: a sample of the next fold, or that fold and a share of the rest."""
    after = (fold + 1) % split.folds
    chosen = samples[after]
    rest = np.flatnonzero((fold_of != fold) & (fold_of != after))
    more = split.val - 1 / split.folds
    if more > 0:
        share = more / (1 - 2 / split.folds)
        chosen = np.concatenate([chosen, cohort.sample(rest, share, rng)])
    others = np.setdiff1d(np.flatnonzero(fold_of != fold), chosen)
    return cohort.with_every_class(chosen, others)


ASSIGNERS: dict[Assigner, Callable[[Cohort, Split, np.random.Generator], list[np.ndarray]]] = {
    "greedy": _assign_greedily,
    "iterative": assign_iteratively,
}
"""Assigners of one repeat; each returns the part of every group by fold, `folds` arrays (G,)."""


def sources_of(dataset: Dataset) -> list[str]:
    """The sources of a dataset, sorted; this is the order of the folds."""
    return sorted(set(stratify_by(dataset, "source").tolist()))


def draw_source_holdout(dataset: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, folds) uint8, one fold per source.

    Raises ProtocolError if an image has no source, or if the number of sources is not the number
    of folds or below two.
    """
    sources = stratify_by(dataset, "source")
    names = sources_of(dataset)
    if MISSING in names:
        raise ProtocolError(
            f"{dataset.name}: {int((sources == MISSING).sum())} images have no source; "
            "source-holdout needs a source for every image"
        )
    if len(names) < 2:  # noqa: PLR2004 - one is tested, the others train
        raise ProtocolError(
            f"{dataset.name}: all images have one source, {names[0]}; source-holdout needs two "
            "or more"
        )
    if len(names) != split.folds:
        raise ProtocolError(
            f"split.folds: {split.folds}, but {dataset.name} has {len(names)} sources: "
            f"{listing(names)}; freeze a new protocol with --as NAME --folds {len(names)}"
        )
    cohort = Cohort(dataset, split, group_ids)
    rng = np.random.default_rng((split.seed, 0))
    columns = []
    for name in names:
        here = sources == name
        touched = np.bincount(cohort.member, here) > 0
        rest = np.flatnonzero(~touched)
        share = split.val * len(dataset) / max(1, cohort.images[rest].sum())
        val = cohort.sample(rest, share, rng)
        val = cohort.with_every_class(val, np.setdiff1d(rest, val))
        parts = np.where(touched, LEFT_OUT, TRAIN)
        parts[val] = VAL
        columns.append(np.where(here, TEST, parts[cohort.member]))
    return np.stack(columns, axis=1).astype(np.uint8)


def draw_learning_curve(dataset: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, arms x folds) uint8, arm by arm. Raises as `draw_groupkfold` does."""
    whole = draw_groupkfold(dataset, split, group_ids)
    cohort = Cohort(dataset, split, group_ids)
    rng = np.random.default_rng((split.seed, 1))
    arms = [whole]
    shares = [arm_share(arm) for arm in split.arms]
    for before, share in pairwise(shares):
        parts = arms[-1].copy()
        for column in range(split.folds):
            groups = np.unique(cohort.member[parts[:, column] == TRAIN])
            kept = cohort.sample(groups, share / before, rng)
            kept = cohort.with_every_class(kept, np.setdiff1d(groups, kept))
            dropped = (parts[:, column] == TRAIN) & ~np.isin(cohort.member, kept)
            parts[dropped, column] = LEFT_OUT
        arms.append(parts)
    return np.concatenate(arms, axis=1)


FOLDS = 2
LARGEST_SHARE_FOR_VAL = 0.5  # of a class's groups of one image


@dataclass(frozen=True)
class _Candidate:
    """A group that may be tested: the row of its test image and the rows of the siblings."""

    test: int
    siblings: tuple[int, ...]


def draw_leakage_meter(dataset: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, 4) uint8: clean folds 0 and 1, then leaky folds 0 and 1.

    Raises RolesError if no two groups can be paired.
    """
    rng = np.random.default_rng((split.seed, 0))
    groups = _rows_by_group(group_ids)
    val = _draw_meter_val(dataset, groups, split.val, rng)
    pairs = _draw_pairs(dataset, [rows for rows in groups if not val[rows[0]]], rng)
    if not pairs:
        raise RolesError(
            f"{dataset.name} has no two groups with several images of one class and source; "
            "leakage cannot be measured without siblings"
        )
    paired = [group_ids[candidate.test] for pair in pairs for candidate in pair]
    parts = np.full((len(dataset), 2 * FOLDS), TRAIN, dtype=np.uint8)
    parts[np.isin(group_ids.astype(str), np.array(paired, dtype=str))] = LEFT_OUT
    parts[val] = VAL
    for pair in pairs:
        kept = min(len(candidate.siblings) for candidate in pair)
        for fold, candidate in enumerate(pair):
            siblings = list(candidate.siblings[:kept])
            parts[candidate.test, [fold, FOLDS + fold]] = TEST
            parts[siblings, FOLDS - 1 - fold] = TRAIN  # clean: only where the partner is tested
            parts[siblings, FOLDS + fold] = TRAIN
    return parts


def _rows_by_group(group_ids: np.ndarray) -> list[np.ndarray]:
    """The rows of every group; groups sorted by id."""
    member = np.unique(group_ids.astype(str), return_inverse=True)[1]
    order = np.argsort(member, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(member[order])) + 1)


def _draw_meter_val(
    dataset: Dataset, groups: list[np.ndarray], share: float, rng: np.random.Generator
) -> np.ndarray:
    """Mask of the val images (N,) bool: a share of every class in whole groups, small ones first.

    A group counts for its rarest class. At most half of a class's groups of one image are used, so
    that training keeps some; larger groups provide the rest.
    """
    labels = dataset.labels
    counts = np.bincount(labels, minlength=len(dataset.classes))
    by_class: dict[int, list[np.ndarray]] = defaultdict(list)
    for at in rng.permutation(len(groups)):
        rows = groups[at]
        by_class[min(labels[rows], key=lambda code: (counts[code], code))].append(rows)
    val = np.zeros(len(dataset), dtype=bool)
    for code in sorted(by_class, key=lambda code: (counts[code], code)):
        single = [rows for rows in by_class[code] if len(rows) == 1]
        several = [rows for rows in by_class[code] if len(rows) > 1]
        for rows in [*single[: int(LARGEST_SHARE_FOR_VAL * len(single))], *several]:
            if val[labels == code].sum() >= round(share * counts[code]):
                break
            val[rows] = True
    return val


def _draw_pairs(
    dataset: Dataset, groups: list[np.ndarray], rng: np.random.Generator
) -> list[tuple[_Candidate, _Candidate]]:
    """Groups with siblings, paired at random within class and source, the most siblings first."""
    sources, labels = stratify_by(dataset, "source"), dataset.labels
    counts = np.bincount(labels, minlength=len(dataset.classes))
    pools: dict[tuple[int, str], list[_Candidate]] = defaultdict(list)
    for at in rng.permutation(len(groups)):
        kinds: dict[tuple[int, str], list[int]] = defaultdict(list)
        for row in groups[at].tolist():
            kinds[int(labels[row]), str(sources[row])].append(row)
        several = {kind: rows for kind, rows in kinds.items() if len(rows) > 1}
        if several:
            kind = min(several, key=lambda kind: (counts[kind[0]], kind))
            test, *siblings = rng.permutation(several[kind]).tolist()
            pools[kind].append(_Candidate(test, tuple(siblings)))
    pairs = []
    for kind in sorted(pools):
        pool = sorted(pools[kind], key=lambda candidate: -len(candidate.siblings))
        for one, other in zip(pool[::2], pool[1::2], strict=False):
            pairs.append((one, other) if rng.random() < 0.5 else (other, one))  # noqa: PLR2004
    return pairs


Draw = Callable[[Dataset, Split, np.ndarray], np.ndarray]
"""Takes a dataset, a split and the group ids (N,); returns parts (N, columns) uint8."""

DRAWS: dict[Kind, Draw] = {
    "groupkfold": draw_groupkfold,
    "holdout": draw_holdout,
    "source-holdout": draw_source_holdout,
    "imagekfold": draw_imagekfold,
    "learning-curve": draw_learning_curve,
    "leakage-meter": draw_leakage_meter,
}


def freeze(dataset: Dataset, split: Split, duplicates: Iterable[Pair] = ()) -> Roles:
    """Draw the role of every image in every fold; the same arguments return the same roles.

    duplicates: pairs of image ids that show the same lesion. Raises ProtocolError if the split
    does not fit the dataset, RolesError if a class has too few groups.
    """
    group_ids = join_groups(dataset, duplicates)
    return Roles(
        roster_sha256=dataset.roster_sha256,
        image_ids=dataset.image_ids,
        group_ids=group_ids,
        parts=DRAWS[split.kind](dataset, split, group_ids),
    )
