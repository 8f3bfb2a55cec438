"""Kinds of splits: group k-fold, hold-out, source hold-out, learning curve, leakage meter.

Whole groups are dealt onto the folds, each of which is the test part once a repeat. `split.dealer`
names who deals. The greedy (`dealer`) knows groups and image counts from the first; its val part of
a fold is an even share of the next fold, or all of it and more, so that an image is val once at
most as long as val is no larger than a fold. iterative-stratification (`iterative`) knows neither,
and says what compensates.

A fold tests all images of one source. Groups that stand in several sources are tested by their
images of that source, and the rest of their images are left out of that fold: a sibling of a tested
image neither teaches nor chooses. A source may lack classes; the protocol declares which.

The first arm is group k-fold. Every further arm keeps a share of the groups that the arm before it
trains on, even in everything that the split stratifies by, so that the smaller parts lie within the
larger ones. What an arm does not train on is left out.

A grouped and an ungrouped split cannot show it, for their test parts differ. Nor can siblings that
are simply added, or swapped in at random: the training part grows, or its class shares move
(melanoma is 20% of HAM10000's siblings, and 11% of its images). So two models meet the same test
images and the same val part, and their training parts have as many images and as many groups of
each class and source; only whose siblings they are differs.

How it is drawn:

1. Val takes whole groups, of one image where there are enough.
2. Of every further group with several images, those of one class and source are looked at (the
   rarest such class): one of them, by lot, is tested, the others are its siblings.
3. Such groups of one class, one source and, as far as it goes, one size are paired by lot: the
   first of a pair is tested in fold 0, the second in fold 1. HAM10000 has not enough lesions of one
   image to swap siblings for (70 melanomas of `vidir_modern` against 257 tested lesions), so the
   siblings of the one are swapped for those of the other.
4. The clean arm trains, in each fold, on the siblings of the groups that fold does not test; the
   leaky arm on those of the groups it does test. Both train on all groups of one image, too, and on
   those that found no partner. Siblings that a partner has none for are left out.

Native groups are joined where duplicates connect them; then each kind of split draws in its own
way. Whatever it draws, the roles name the joined groups: they are what the bootstrap resamples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.dataset import Dataset
from bench.errors import ProtocolError, RolesError, listing
from bench.folds.assign import MISSING, Cohort, Pair, join_groups, strata
from bench.folds.iterative import assign_iteratively
from bench.protocol import PARTS, Dealer, Kind, Roles, Split, arm_share

FEWEST_OUTSIDE_TEST = 2  # one group for train, one for val
TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))


def draw_groupkfold(manifest: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, folds x repeats) uint8; the same arguments give the same parts.

    Raises ProtocolError where the shares leave nothing to train on, RolesError where a class has
    too few groups.
    """
    if split.val + 1 / split.folds >= 1:
        raise ProtocolError(
            f"split.val: {split.val} leaves nothing to train on beside 1/{split.folds} for test"
        )
    cohort = Cohort(manifest, split, group_ids)
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


def draw_imagekfold(manifest: Dataset, split: Split, _group_ids: np.ndarray) -> np.ndarray:
    """The same as if every image were a group of its own: on purpose, to show what that does."""
    return draw_groupkfold(manifest, split, manifest.image_ids)


def draw_holdout(manifest: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, 1) uint8 of one fold with shares for val and test.

    Raises RolesError where a class has fewer than three groups.
    """
    cohort = Cohort(manifest, split, group_ids)
    cohort.refuse_few_groups(len(PARTS) - 1, "three parts need")
    test = split.test or 0.0
    shares = np.array([1 - split.val - test, split.val, test])
    rng = np.random.default_rng((split.seed, 0))
    everyone = np.arange(len(cohort.images))
    dealt = cohort.deal(everyone, shares, rng, split.candidates)
    parts: np.ndarray = np.array([TRAIN, VAL, TEST], dtype=np.uint8)[dealt]
    column: np.ndarray = parts[cohort.member]
    return column[:, None]


def _deal_greedily(cohort: Cohort, split: Split, rng: np.random.Generator) -> list[np.ndarray]:
    """The part of every group in each fold of one repeat: `folds` arrays (G,) uint8."""
    everyone = np.arange(len(cohort.images))
    shares = np.full(split.folds, 1 / split.folds)
    fold_of = cohort.deal(everyone, shares, rng, split.candidates)
    heads = [
        cohort.draw(np.flatnonzero(fold_of == fold), split.val * split.folds, rng)
        for fold in range(split.folds)
    ]
    columns = []
    for fold in range(split.folds):
        parts = np.full(len(everyone), TRAIN, dtype=np.uint8)
        parts[fold_of == fold] = TEST
        parts[_draw_val(cohort, split, fold, fold_of, heads, rng)] = VAL
        columns.append(parts)
    return columns


def _draw_val(
    cohort: Cohort,
    split: Split,
    fold: int,
    fold_of: np.ndarray,
    heads: list[np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """The val groups of a fold: the head of the next fold, or that fold and a share of others."""
    after = (fold + 1) % split.folds
    chosen = heads[after]
    rest = np.flatnonzero((fold_of != fold) & (fold_of != after))
    more = split.val - 1 / split.folds
    if more > 0:
        share = more / (1 - 2 / split.folds)
        chosen = np.concatenate([chosen, cohort.draw(rest, share, rng)])
    others = np.setdiff1d(np.flatnonzero(fold_of != fold), chosen)
    return cohort.with_every_class(chosen, others)


ASSIGNERS: dict[Dealer, Callable[[Cohort, Split, np.random.Generator], list[np.ndarray]]] = {
    "greedy": _deal_greedily,
    "iterative": assign_iteratively,
}
"""Who deals one repeat: the part of every group in each of its folds, `folds` arrays (G,) uint8."""


LEFT_OUT, TRAIN, VAL, TEST = range(len(PARTS))


def sources_of(manifest: Dataset) -> list[str]:
    """The sources of a manifest by name, the order of the folds."""
    return sorted(set(strata(manifest, "source").tolist()))


def draw_source_holdout(manifest: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, folds) uint8, a fold a source. Raises ProtocolError unless there are as many.

    Images without a source cannot be left out with theirs, so a manifest with such is refused.
    """
    sources = strata(manifest, "source")
    names = sources_of(manifest)
    if MISSING in names:
        raise ProtocolError(
            f"{manifest.name}: {int((sources == MISSING).sum())} images have no source; "
            "source-holdout needs one of every image"
        )
    if len(names) < 2:  # noqa: PLR2004 - one is left out, another teaches
        raise ProtocolError(
            f"{manifest.name}: all images are of one source, {names[0]}; source-holdout needs two "
            "or more"
        )
    if len(names) != split.folds:
        raise ProtocolError(
            f"split.folds: {split.folds}, but {manifest.name} has {len(names)} sources: "
            f"{listing(names)}; freeze it as a protocol of its own: --as NAME --folds {len(names)}"
        )
    cohort = Cohort(manifest, split, group_ids)
    rng = np.random.default_rng((split.seed, 0))
    columns = []
    for name in names:
        here = sources == name
        touched = np.bincount(cohort.member, here) > 0
        rest = np.flatnonzero(~touched)
        share = split.val * len(manifest) / max(1, cohort.images[rest].sum())
        val = cohort.draw(rest, share, rng)
        val = cohort.with_every_class(val, np.setdiff1d(rest, val))
        parts = np.where(touched, LEFT_OUT, TRAIN)
        parts[val] = VAL
        columns.append(np.where(here, TEST, parts[cohort.member]))
    return np.stack(columns, axis=1).astype(np.uint8)


LEFT_OUT, TRAIN, VAL, TEST = range(len(PARTS))


def draw_learning_curve(manifest: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, arms x folds) uint8, arm by arm. Raises as `draw_groupkfold` does."""
    whole = draw_groupkfold(manifest, split, group_ids)
    cohort = Cohort(manifest, split, group_ids)
    rng = np.random.default_rng((split.seed, 1))
    arms = [whole]
    shares = [arm_share(arm) for arm in split.arms]
    for before, share in pairwise(shares):
        parts = arms[-1].copy()
        for column in range(split.folds):
            everyone = np.unique(cohort.member[parts[:, column] == TRAIN])
            kept = cohort.draw(everyone, share / before, rng)
            kept = cohort.with_every_class(kept, np.setdiff1d(everyone, kept))
            dropped = (parts[:, column] == TRAIN) & ~np.isin(cohort.member, kept)
            parts[dropped, column] = LEFT_OUT
        arms.append(parts)
    return np.concatenate(arms, axis=1)


FOLDS = 2
LARGEST_SHARE_FOR_VAL = 0.5  # of a class's groups of one image
LEFT_OUT, TRAIN, VAL, TEST = range(len(PARTS))


@dataclass(frozen=True)
class _Candidate:
    """A group that may be tested: the rows of its test image and of the siblings of that."""

    test: int
    siblings: tuple[int, ...]


def draw_leakage_meter(manifest: Dataset, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, 4) uint8: clean folds 0 and 1, then leaky folds 0 and 1.

    Raises RolesError where no two groups can be paired.
    """
    rng = np.random.default_rng((split.seed, 0))
    groups = _rows_by_group(group_ids)
    val = _draw_meter_val(manifest, groups, split.val, rng)
    pairs = _draw_pairs(manifest, [rows for rows in groups if not val[rows[0]]], rng)
    if not pairs:
        raise RolesError(
            f"{manifest.name} has no two groups with several images of one class and source; "
            "without siblings there is no leakage to measure"
        )
    paired = [group_ids[candidate.test] for pair in pairs for candidate in pair]
    parts = np.full((len(manifest), 2 * FOLDS), TRAIN, dtype=np.uint8)
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
    """The rows of every group, groups in the order of their names."""
    member = np.unique(group_ids.astype(str), return_inverse=True)[1]
    order = np.argsort(member, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(member[order])) + 1)


def _draw_meter_val(
    manifest: Dataset, groups: list[np.ndarray], share: float, rng: np.random.Generator
) -> np.ndarray:
    """Which images are val (N,) bool: of every class its share, whole groups, small ones first.

    A group counts for the rarest class it holds. At most half of a class's groups of one image are
    taken, so that training keeps some; larger groups make up the rest.
    """
    labels = manifest.labels
    counts = np.bincount(labels, minlength=len(manifest.classes))
    by_class: dict[int, list[np.ndarray]] = defaultdict(list)
    for at in rng.permutation(len(groups)):
        rows = groups[at]
        by_class[min(labels[rows], key=lambda code: (counts[code], code))].append(rows)
    val = np.zeros(len(manifest), dtype=bool)
    for code in sorted(by_class, key=lambda code: (counts[code], code)):
        single = [rows for rows in by_class[code] if len(rows) == 1]
        several = [rows for rows in by_class[code] if len(rows) > 1]
        for rows in [*single[: int(LARGEST_SHARE_FOR_VAL * len(single))], *several]:
            if val[labels == code].sum() >= round(share * counts[code]):
                break
            val[rows] = True
    return val


def _draw_pairs(
    manifest: Dataset, groups: list[np.ndarray], rng: np.random.Generator
) -> list[tuple[_Candidate, _Candidate]]:
    """Groups with siblings, paired by lot within class and source, the most siblings first."""
    sources, labels = strata(manifest, "source"), manifest.labels
    counts = np.bincount(labels, minlength=len(manifest.classes))
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
"""Manifest, split and the group ids (N,) of its images; gives parts (N, columns) uint8."""

DRAWS: dict[Kind, Draw] = {
    "groupkfold": draw_groupkfold,
    "holdout": draw_holdout,
    "source-holdout": draw_source_holdout,
    "imagekfold": draw_imagekfold,
    "learning-curve": draw_learning_curve,
    "leakage-meter": draw_leakage_meter,
}


def freeze(manifest: Dataset, split: Split, duplicates: Iterable[Pair] = ()) -> Roles:
    """Draw the roles of every image in every fold; the same arguments give the same roles.

    duplicates are pairs of image ids that show the same picture. Raises ProtocolError where the
    split cannot be drawn, RolesError where the dataset has too little of something.
    """
    group_ids = join_groups(manifest, duplicates)
    return Roles(
        roster_sha256=manifest.roster_sha256,
        image_ids=manifest.image_ids,
        group_ids=group_ids,
        parts=DRAWS[split.kind](manifest, split, group_ids),
    )
