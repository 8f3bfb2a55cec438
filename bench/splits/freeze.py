"""Who is train, val and test in every fold: drawn once, then frozen.

Native groups are joined where duplicates connect them; then each kind of split draws in its own
way. Whatever it draws, the roles name the joined groups: they are what the bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from bench.manifest import Manifest
from bench.protocol import Kind, Roles, Split
from bench.splits.groupkfold import draw_groupkfold, draw_holdout, draw_imagekfold
from bench.splits.groups import Pair, join_groups
from bench.splits.leakage_meter import draw_leakage_meter
from bench.splits.learning_curve import draw_learning_curve
from bench.splits.source_holdout import draw_source_holdout

Draw = Callable[[Manifest, Split, np.ndarray], np.ndarray]
"""Manifest, split and the group ids (N,) of its images; gives parts (N, columns) uint8."""

DRAWS: dict[Kind, Draw] = {
    "groupkfold": draw_groupkfold,
    "holdout": draw_holdout,
    "source-holdout": draw_source_holdout,
    "imagekfold": draw_imagekfold,
    "learning-curve": draw_learning_curve,
    "leakage-meter": draw_leakage_meter,
}


def freeze(manifest: Manifest, split: Split, duplicates: Iterable[Pair] = ()) -> Roles:
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
