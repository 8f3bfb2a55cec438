"""Each source left out in turn: how a method fares where none of its pictures were made.

A fold tests all images of one source. Groups that stand in several sources are tested by their
images of that source, and the rest of their images are left out of that fold: a sibling of a tested
image neither teaches nor chooses. A source may lack classes; the protocol declares which.
"""

from __future__ import annotations

import numpy as np

from bench.errors import ProtocolError, listing
from bench.manifest import Manifest
from bench.protocol import PARTS, Split
from bench.splits.cohort import Cohort
from bench.splits.strata import MISSING, strata

LEFT_OUT, TRAIN, VAL, TEST = range(len(PARTS))


def sources_of(manifest: Manifest) -> list[str]:
    """The sources of a manifest by name, the order of the folds."""
    return sorted(set(strata(manifest, "source").tolist()))


def draw_source_holdout(manifest: Manifest, split: Split, group_ids: np.ndarray) -> np.ndarray:
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
