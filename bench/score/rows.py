"""One row's numbers as they stand: which predictions count, their values, by fold, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import PredictionError, listing
from bench.predictions import RowPredictions, Slot
from bench.protocol import Protocol
from bench.score.arrange import Arrangement, arrange
from bench.score.bootstrap import point_tally
from bench.score.metrics import ECE_BINS, Tally, brier_scores, confidence_bins, log_losses, values
from bench.score.runs import Cohort, Run, join, refuse_unknown_slots

Pass = tuple[int, int]
"""Seed and repeat of one pass over the folds."""


@dataclass(frozen=True)
class Scored:
    """A run with its arrangement and its tally as it stands."""

    run: Run
    arrangement: Arrangement
    tally: Tally

    @property
    def values(self) -> np.ndarray:
        """Every metric (M,) as it stands."""
        return values(self.tally)[:, 0]


@dataclass(frozen=True)
class Row:
    """A row's numbers without intervals.

    counted   the passes that the row's values are the mean of, in the same order as `passes`
    values    every metric (M,), mean over the counted passes
    by_fold   (M, repeats x F), mean over seeds; NaN where missing
    seed_sd   (M,) over all whole seeds; NaN with fewer than two
    mark      what is missing ("incomplete: 3 of 5 folds"), "" for a complete row
    confusion (C, C) images by truth and call, summed over the counted passes
    """

    predictions: RowPredictions
    complete: bool
    mark: str
    counted: tuple[Scored, ...]
    passes: tuple[Pass, ...]
    values: np.ndarray
    by_fold: np.ndarray
    seed_sd: np.ndarray
    confusion: np.ndarray


def read_row(row: RowPredictions, protocol: Protocol, cohort: Cohort) -> Row:
    """Join a row with the labels and work out its numbers as they stand.

    A complete row has every fold of every repeat for every seed of the protocol, and its values are
    those of these seeds; further seeds only enter `seed_sd`. An incomplete row is worked out on its
    whole passes or, where it has none, on the folds its passes have in common.
    """
    refuse_unknown_slots(row, cohort)
    if not row.test:
        raise PredictionError(f"row {row.name}: has no predictions")
    found: dict[Pass, list[Slot]] = {}
    for slot in sorted(row.test):
        found.setdefault((slot.seed, slot.repeat), []).append(slot)
    scored = {each: score_run(join(row, slots, cohort)) for each, slots in found.items()}
    whole = {each for each, slots in found.items() if len(slots) == cohort.folds}
    wanted = [(s, r) for s in dict.fromkeys(protocol.run.seeds) for r in range(cohort.repeats)]
    complete = whole.issuperset(wanted)
    mark = ""
    passes = wanted
    counted = [scored[each] for each in wanted if each in whole]
    if not complete:
        candidates = [each for each in wanted if each in found] or sorted(found)
        passes, slots = _shown({each: found[each] for each in candidates}, whole)
        counted = [
            scored[each] if len(part) == len(found[each]) else score_run(join(row, part, cohort))
            for each, part in zip(passes, slots, strict=True)
        ]
        mark = _mark(wanted, passes, slots, cohort.folds)
    as_it_stands = np.mean([each.values for each in counted], axis=0)
    return Row(
        predictions=row,
        complete=complete,
        mark=mark,
        counted=tuple(counted),
        passes=tuple(passes),
        values=as_it_stands,
        by_fold=_by_fold(scored, wanted, cohort),
        seed_sd=_seed_sd({each: scored[each] for each in whole}, cohort.repeats, len(as_it_stands)),
        confusion=np.sum([_confusion(each.tally) for each in counted], axis=0),
    )


def score_run(run: Run) -> Scored:
    """A run with its arrangement and its tally."""
    arrangement = arrange(run)
    return Scored(run, arrangement, point_tally(arrangement, run.groups))


def _mark(
    wanted: Sequence[Pass], shown: Sequence[Pass], slots: Sequence[Sequence[Slot]], folds: int
) -> str:
    """What is missing of a row that is worked out on some passes, on these slots of each."""
    if not set(shown) & set(wanted):
        asked, here = (listing(sorted({seed for seed, _ in part})) for part in (wanted, shown))
        return f"incomplete: nothing of seed {asked}, these are of seed {here}"
    return f"incomplete: {sum(map(len, slots))} of {len(wanted) * folds} folds"


def _shown(
    found: Mapping[Pass, Sequence[Slot]], whole: set[Pass]
) -> tuple[list[Pass], list[list[Slot]]]:
    """What an incomplete row is worked out on: its whole passes, else their common folds."""
    chosen = [each for each in found if each in whole]
    if chosen:
        return chosen, [list(found[each]) for each in chosen]
    folds = set.intersection(*({slot.fold for slot in slots} for slots in found.values()))
    if folds:
        parts = [[slot for slot in slots if slot.fold in folds] for slots in found.values()]
        return list(found), parts
    most = max(found, key=lambda each: len(found[each]))
    return [most], [list(found[most])]


def _by_fold(scored: Mapping[Pass, Scored], wanted: Sequence[Pass], cohort: Cohort) -> np.ndarray:
    """Every metric in every fold column (M, repeats x F), mean over the protocol's seeds."""
    chosen = [each for each in wanted if each in scored] or list(scored)
    tables = {each: fold_values(scored[each]) for each in chosen}
    width = len(next(iter(tables.values())))
    blocks = []
    for repeat in range(cohort.repeats):
        here = [table for (_, at), table in tables.items() if at == repeat]
        blocks.append(_mean_of_present(here, (width, cohort.folds)))
    return np.concatenate(blocks, axis=1)


def _mean_of_present(tables: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    if not tables:
        return np.full(shape, np.nan)
    stack = np.stack(tables)
    count = np.isfinite(stack).sum(axis=0)
    total = np.where(np.isfinite(stack), stack, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _seed_sd(whole: Mapping[Pass, Scored], repeats: int, width: int) -> np.ndarray:
    """Standard deviation (M,) over the seeds that have every repeat whole."""
    seeds = sorted({seed for seed, _ in whole})
    means = [
        np.mean([whole[seed, repeat].values for repeat in range(repeats)], axis=0)
        for seed in seeds
        if all((seed, repeat) in whole for repeat in range(repeats))
    ]
    if len(means) < 2:  # noqa: PLR2004 - one value has no spread
        return np.full(width, np.nan)
    return np.asarray(np.std(means, axis=0, ddof=1))


def _confusion(tally: Tally) -> np.ndarray:
    return np.asarray(np.rint(tally.confusion[..., 0]), dtype=np.int64)


def fold_values(scored: Scored) -> np.ndarray:
    """Every metric (M, F) of a run in each of its folds alone; NaN in folds that it has not."""
    run, tally = scored.run, scored.tally
    classes, folds = run.classes, run.folds

    def spread(cell: np.ndarray, cells: int, weights: np.ndarray | None = None) -> np.ndarray:
        flat = np.bincount(cell * folds + run.fold, weights, minlength=cells * folds)
        return flat.reshape(cells, folds).astype(np.float64)

    top = run.probs[np.arange(len(run.truth)), run.called]
    gap = top - (run.called == run.truth)
    zero = np.zeros(len(run.truth), dtype=np.int64)
    caught = spread(run.truth, classes, run.caught.astype(np.float64))
    auc, ap = tally.fold_auc[..., 0], tally.fold_ap[..., 0]
    return values(
        Tally(
            confusion=spread(run.truth * classes + run.called, classes**2).reshape(
                classes, classes, folds
            ),
            caught=np.where(np.isfinite(run.thresholds.T), caught, np.nan),
            gaps=spread(confidence_bins(top), ECE_BINS, gap),
            log_loss=spread(zero, 1, log_losses(run.truth, run.probs))[0],
            brier=spread(zero, 1, brier_scores(run.truth, run.probs))[0],
            fold_auc=auc[:, None, :],
            fold_ap=ap[:, None, :],
            auc=auc,
            ap=ap,
        )
    )
