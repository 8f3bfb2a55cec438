"""Where two rows disagree: by class, in images and in groups, and on which images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.contrast import Disagreement, Disputed
from bench.estimates import Estimate, MetricTable
from bench.grouped import design_effect, pair_correlation
from bench.score.rows import Row
from bench.score.runs import Cohort


@dataclass(frozen=True)
class Answers:
    """What a row says of every tested image (n,), over all its counted passes.

    at    places in the roster, ascending. right: passes in which the image's class was called
    probs (n, C) mean over the passes. passes: how many there are of each image
    """

    at: np.ndarray
    right: np.ndarray
    probs: np.ndarray
    passes: np.ndarray


def answers(row: Row, who: Cohort) -> Answers:
    """The answers of a row, image by image."""
    images = len(who.labels)
    right, passes = np.zeros(images, dtype=np.int64), np.zeros(images, dtype=np.int64)
    probs = np.zeros((images, len(who.classes)))
    for (_, repeat), scored in zip(row.passes, row.counted, strict=True):
        run = scored.run
        columns = repeat * who.folds + run.present
        at = np.concatenate([who.roles.rows(column, "test") for column in columns])
        right[at] += run.called == run.truth
        probs[at] += run.probs
        passes[at] += 1
    at = np.flatnonzero(passes)
    return Answers(at, right[at], probs[at] / passes[at, None], passes[at])


def sign_flip(differences: np.ndarray) -> float:
    """Exact two-sided p of a sum of whole differences (G,), one a group.

    The chance of a sum as far from 0 if each group's sign were a coin's: what holds if the two rows
    could be exchanged in any group (Fisher 1935's randomisation test). Groups of one image make it
    McNemar's exact test. 1 where no group differs.
    """
    from scipy.signal import convolve
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    law = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        signs = np.zeros(2 * size * count + 1)
        signs[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        law = np.clip(convolve(law, signs), 0, None)
    sums = np.arange(len(law)) - len(law) // 2
    return min(1.0, float(law[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def disagreements(
    a: Answers, b: Answers, differences: MetricTable, who: Cohort
) -> tuple[Disagreement, ...]:
    """A line a class that is tested, by true class, and one for all of them."""
    truth, ahead = who.labels[a.at], a.right - b.right
    group = who.group[a.at]
    lines = [
        _of_class(label, truth == code, ahead, group, differences.per_class[label]["recall"])
        for code, label in enumerate(who.classes)
        if (truth == code).any()
    ]
    every = np.ones(len(truth), dtype=bool)
    return *lines, _of_class("", every, ahead, group, differences.metrics["accuracy"])


def _of_class(
    label: str, own: np.ndarray, ahead: np.ndarray, group: np.ndarray, recall: Estimate
) -> Disagreement:
    from scipy.stats import binomtest

    ahead, member = ahead[own], np.unique(group[own], return_inverse=True)[1]
    only_a, only_b = int((ahead > 0).sum()), int((ahead < 0).sum())
    sums = np.rint(np.bincount(member, ahead)).astype(np.int64)
    sizes = np.bincount(member)
    icc = pair_correlation(ahead.astype(np.float64), member)
    return Disagreement(
        label=label,
        images=int(own.sum()),
        groups=len(sums),
        only_a=only_a,
        only_b=only_b,
        p_images=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        p_groups=sign_flip(sums),
        recall=recall,
        icc=icc,
        design_effect=1.0 if sizes.max() == 1 else design_effect(sizes, icc),
    )


def disputed(a: Answers, b: Answers, who: Cohort) -> tuple[Disputed, ...]:
    """The images that one row gets right more often than the other, the widest apart first.

    Wide apart is a large difference in the probability of the image's own class.
    """
    truth = who.labels[a.at]
    own_a, own_b = (each.probs[np.arange(len(truth)), truth] for each in (a, b))
    found = np.flatnonzero(a.right != b.right)
    order = found[np.argsort(-np.abs(own_a - own_b)[found], kind="stable")]
    names = who.classes
    return tuple(
        Disputed(
            image_id=str(who.roles.image_ids[a.at[at]]),
            group_id=str(who.roles.group_ids[a.at[at]]),
            label=names[truth[at]],
            a_called=names[int(a.probs[at].argmax())],
            b_called=names[int(b.probs[at].argmax())],
            a_probability=float(own_a[at]),
            b_probability=float(own_b[at]),
            a_right=int(a.right[at]),
            b_right=int(b.right[at]),
            passes=int(a.passes[at]),
        )
        for at in order
    )
