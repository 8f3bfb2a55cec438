"""The lesions that a row does worst on, image by image: where to look first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.closeup import HardImage, HardLesion
from bench.manifest import Manifest
from bench.score.metrics import log_losses
from bench.score.runs import Cohort, Run

MOST = 12


def hardest_lesions(
    runs: Sequence[Run], manifest: Manifest, who: Cohort, most: int = MOST
) -> tuple[HardLesion, ...]:
    """The lesions with the highest mean log loss over their tested images, the worst first.

    All tested images of a lesion are listed, those called right too. Where an image has no lesion
    id it stands for itself. Equal losses stand in the order of their names.
    """
    images = len(who.labels)
    passes, loss, fold = np.zeros(images), np.zeros(images), np.zeros(images, dtype=np.int64)
    probs = np.zeros((images, len(who.classes)))
    for run in reversed(runs):  # so that the first repeat has the last word on the fold
        passes[run.place] += 1
        loss[run.place] += log_losses(run.truth, run.probs)
        probs[run.place] += run.probs
        fold[run.place] = run.fold
    tested = np.flatnonzero(passes)
    loss[tested] /= passes[tested]
    probs[tested] /= passes[tested, None]
    names = manifest.table["lesion_id"]
    known = names.where(names.notna(), manifest.image_ids).to_numpy(dtype=object)
    lesions, member = np.unique(known[tested].astype(str), return_inverse=True)
    means = np.bincount(member, loss[tested]) / np.bincount(member)

    def image(at: int) -> HardImage:
        truth, called = int(who.labels[at]), int(probs[at].argmax())
        return HardImage(
            image_id=str(manifest.image_ids[at]),
            fold=int(fold[at]),
            label=who.classes[truth],
            called=who.classes[called],
            p_label=float(probs[at, truth]),
            p_called=float(probs[at, called]),
            loss=float(loss[at]),
        )

    found = []
    for lesion in np.argsort(-means, kind="stable")[:most]:
        own = tested[member == lesion]
        own = own[np.argsort(-loss[own], kind="stable")]
        group = str(who.roles.group_ids[own[0]])
        found.append(
            HardLesion(str(lesions[lesion]), group, float(means[lesion]), tuple(map(image, own)))
        )
    return tuple(found)
