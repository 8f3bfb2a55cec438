"""The kernels of `bench.score.kernels` by NumPy: an independent oracle."""

from __future__ import annotations

import numpy as np

from bench.score.bootstrap import BATCH
from bench.score.metrics import ratio

KERNELS = ("pick", "draw", "count_cells", "add_up", "rank", "interpolate", "influence")
SINGLE = 1  # a segment's parts: negatives 0, positives 1, tied negatives 2, tied positives 3
GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)


def mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser of every uint64."""
    once: np.ndarray = (state ^ (state >> np.uint64(30))) * FIRST
    twice: np.ndarray = (once ^ (once >> np.uint64(27))) * SECOND
    thrice: np.ndarray = twice ^ (twice >> np.uint64(31))
    return thrice


def starts(seed: int, first: int, count: int) -> np.ndarray:
    """Start states (count,) uint64 of the streams `first`, `first + 1`, ... of a seed."""
    salt = mix(np.array([seed % 2**64], dtype=np.uint64))
    streams = np.arange(first, first + count, dtype=np.uint64)
    return mix(salt + (streams + np.uint64(1)) * SECOND)


def picks(start: np.uint64, choices: int, count: int) -> np.ndarray:
    """`count` uniform draws (int64) from range(choices): two of each hash."""
    steps = np.arange(1, (count + 1) // 2 + 1, dtype=np.uint64)
    state = mix(np.asarray(start, dtype=np.uint64) + steps * GAMMA)
    halves = np.stack([state >> np.uint64(32), state & LOW], axis=1).ravel()[:count]
    return ((halves * np.uint64(choices)) >> np.uint64(32)).astype(np.int64)


def pick(seed: np.uint64, stream: int, choices: int, picked: np.ndarray) -> None:
    picked[:] = picks(starts(int(seed), stream, 1)[0], choices, len(picked))


def draw(seed: np.uint64, first: int, weights: np.ndarray) -> None:
    groups = len(weights)
    for column, start in enumerate(starts(int(seed), first, BATCH)):
        weights[:, column] = np.bincount(picks(start, groups, groups), minlength=groups)


def count_cells(
    weights: np.ndarray, items: np.ndarray, ends: np.ndarray, cells: np.ndarray
) -> None:
    """Sums of weights by cell into cells (K, 64). items (L,) group numbers, ends (K,) exclusive."""
    cells[:] = np.diff(_running(weights[items])[ends], axis=0, prepend=0)


def add_up(
    weights: np.ndarray, items: np.ndarray, values: np.ndarray, ends: np.ndarray, sums: np.ndarray
) -> None:
    """Weighted sums of each of values (L, 3) by part into sums (3, parts, 64); ends (parts,)."""
    begin = 0
    for part, end in enumerate(ends):
        sums[:, part] = values[begin:end].T @ weights[items[begin:end]]
        begin = end


def rank(
    weights: np.ndarray,
    items: np.ndarray,
    segments: np.ndarray,
    rankings: np.ndarray,
    ranks: np.ndarray,
) -> None:
    """Four sums of every ranking, ranks (4, rankings, 64): weight of the positives; of the
    negatives that were met; negatives times positives above them, half if tied; sum of precisions.

    items (L,), segments (S, 4) and rankings are those of `bootstrap.SortedScores`.
    """
    begin = 0
    for ranking in range(len(rankings) - 1):
        cuts = segments[rankings[ranking] : rankings[ranking + 1]]
        ranks[:, ranking] = _ranking(weights, items, begin, cuts) if len(cuts) else 0
        begin = cuts[-1, 3] if len(cuts) else begin


def interpolate(places: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Height at each of places (P,) of curves through x, y (K, B), one a column, into out (P, B).

    places and x ascend; beyond its ends a curve is level, and it begins at the first y that is
    defined. NaN where the last x or y of a curve is: then it is none.
    """
    for lane in range(x.shape[1]):
        known = np.isfinite(y[:, lane])
        replicates = known[-1] and np.isfinite(x[-1, lane])
        out[:, lane] = np.interp(places, x[known, lane], y[known, lane]) if replicates else np.nan


def influence(
    score: np.ndarray, positive: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (L,) by each image's weight of AUC and AP, means over rankings.

    The rankings stand one after the other, sizes (R,) int64 long, each descending by score (L,);
    positive (L,) says whose score should be high. A ranking in which AUC or AP is undefined counts
    for nothing; 0 everywhere if all are.
    """
    stops = np.cumsum(sizes)
    starts = stops - sizes
    ranking = np.repeat(np.arange(len(sizes)), sizes)
    edge = np.ones(len(score) + 1, dtype=bool)
    edge[1:-1] = score[1:] != score[:-1]
    edge[starts] = True
    edges = np.flatnonzero(edge)
    ties = np.diff(edges)
    begin, end = np.repeat(edges[:-1], ties), np.repeat(edges[1:], ties)
    first = starts[ranking]
    pos, neg = _summed(positive), _summed(~positive)
    positives, negatives = (count[stops] - count[starts] for count in (pos, neg))
    whole, rest = positives[ranking], negatives[ranking]
    # AUC: the share of negatives beaten by a positive, of positives that beat a negative
    beaten = 1 - ratio((neg[begin] + neg[end]) / 2 - neg[first], rest)
    beating = ratio((pos[begin] + pos[end]) / 2 - pos[first], whole)
    area = ratio(np.add.reduceat(np.where(positive, beaten, 0), starts), positives)[ranking]
    auc = np.where(positive, ratio(beaten - area, whole), ratio(beating - area, rest))
    # AP: a positive's precision counts every image at or above it
    met = end - first
    precision = (pos[end] - pos[first]) / met
    mean = ratio(np.add.reduceat(np.where(positive, precision, 0), starts), positives)[ranking]
    share = _summed(np.where(positive, 1 / met, 0))
    weighted = _summed(np.where(positive, precision / met, 0))
    last = stops[ranking]
    gain = positive * (precision - mean + share[last] - share[begin])
    ap = ratio(gain - (weighted[last] - weighted[begin]), whole)
    both = np.count_nonzero((positives > 0) & (negatives > 0))
    return (
        np.nan_to_num(auc, nan=0) / max(both, 1),
        np.nan_to_num(ap, nan=0) / max(np.count_nonzero(positives), 1),
    )


def _running(replicates: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... rows of drawn (L, 64): (L + 1, 64) float64, exact."""
    out = np.zeros((len(replicates) + 1, BATCH))
    np.cumsum(replicates, axis=0, out=out[1:])
    return out


def _ranking(
    weights: np.ndarray, rank_items: np.ndarray, begin: int, cuts: np.ndarray
) -> np.ndarray:
    """The four sums (4, 64) of one ranking, as `rank` names them."""
    ends = cuts - begin
    sizes = np.diff(ends.ravel(), prepend=0).reshape(ends.shape)
    kind = np.repeat(np.tile(np.arange(4), len(ends)), sizes.ravel())
    tied = kind > SINGLE
    replicates = weights[rank_items[begin : cuts[-1, 3]]]
    positive = kind % 2 == 1
    pos = _running(np.where(positive[:, None], replicates, 0))
    neg = _running(np.where(positive[:, None], 0, replicates))
    # where each image's tie begins and ends; an image of its own score is a tie of one
    place, segment = np.arange(len(kind)), np.repeat(np.arange(len(ends)), sizes.sum(axis=1))
    tie_from = np.where(tied, ends[segment, 1], place)
    tie_to = np.where(tied, ends[segment, 3], place + 1)
    met = pos[tie_to[positive]] + neg[tie_to[positive]]
    precision = replicates[positive] * pos[tie_to[positive]] / np.maximum(met, 1)
    above = (pos[tie_from[~positive]] + pos[tie_to[~positive]]) / 2
    below = (replicates[~positive] * above).sum(axis=0)
    return np.stack([pos[-1], neg[-1], below, precision.sum(axis=0)])


def _summed(counted: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ..., L values: (L + 1,)."""
    return np.concatenate([[0], np.cumsum(counted)])
