"""The leakage meter: what a method gains when a second picture of the tested group is in training.

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
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from bench.errors import RolesError
from bench.manifest import Manifest
from bench.protocol import PARTS, Split
from bench.splits.strata import strata

FOLDS = 2
LARGEST_SHARE_FOR_VAL = 0.5  # of a class's groups of one image
LEFT_OUT, TRAIN, VAL, TEST = range(len(PARTS))


@dataclass(frozen=True)
class _Candidate:
    """A group that may be tested: the rows of its test image and of the siblings of that."""

    test: int
    siblings: tuple[int, ...]


def draw_leakage_meter(manifest: Manifest, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, 4) uint8: clean folds 0 and 1, then leaky folds 0 and 1.

    Raises RolesError where no two groups can be paired.
    """
    rng = np.random.default_rng((split.seed, 0))
    groups = _rows_by_group(group_ids)
    val = _draw_val(manifest, groups, split.val, rng)
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


def _draw_val(
    manifest: Manifest, groups: list[np.ndarray], share: float, rng: np.random.Generator
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
    manifest: Manifest, groups: list[np.ndarray], rng: np.random.Generator
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
