"""Numbers of one row: values by fold and seed, estimates with intervals, denominators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import PredictionError, listing
from bench.leaderboard import NAN, Estimate, MetricTable
from bench.predictions import RowPredictions, TrainingKey
from bench.protocol import Interval, Protocol
from bench.score.bootstrap import (
    SortedScores,
    accelerations,
    all_agree,
    bca,
    clopper_pearson,
    percentile,
    point_sums,
    sort_scores,
)
from bench.score.join import Cohort, Run, join, refuse_unknown_slots
from bench.score.metrics import (
    BIASED,
    CLASS_METRICS,
    ECE_BINS,
    FOLD_MEANS,
    IMAGE_METRICS,
    MACROS,
    PROPORTIONS,
    RESAMPLED_CLASS_METRICS,
    Key,
    Sums,
    brier_scores,
    confidence_bins,
    keys,
    log_losses,
    values,
)

Pass = tuple[int, int]
"""Seed and repeat of one pass over the folds."""


@dataclass(frozen=True)
class Scored:
    """A run with its sorted_scores and its sums as it stands."""

    run: Run
    sorted_scores: SortedScores
    sums: Sums

    @property
    def values(self) -> np.ndarray:
        """Every metric (M,) as it stands."""
        return values(self.sums)[:, 0]


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
    found: dict[Pass, list[TrainingKey]] = {}
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
        confusion=np.sum([_confusion(each.sums) for each in counted], axis=0),
    )


def score_run(run: Run) -> Scored:
    """A run with its sorted_scores and its sums."""
    sorted_scores = sort_scores(run)
    return Scored(run, sorted_scores, point_sums(sorted_scores, run.groups))


def _mark(
    wanted: Sequence[Pass],
    shown: Sequence[Pass],
    slots: Sequence[Sequence[TrainingKey]],
    folds: int,
) -> str:
    """What is missing of a row that is worked out on some passes, on these slots of each."""
    if not set(shown) & set(wanted):
        asked, here = (listing(sorted({seed for seed, _ in part})) for part in (wanted, shown))
        return f"incomplete: nothing of seed {asked}, these are of seed {here}"
    return f"incomplete: {sum(map(len, slots))} of {len(wanted) * folds} folds"


def _shown(
    found: Mapping[Pass, Sequence[TrainingKey]], whole: set[Pass]
) -> tuple[list[Pass], list[list[TrainingKey]]]:
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


def _confusion(sums: Sums) -> np.ndarray:
    return np.asarray(np.rint(sums.confusion[..., 0]), dtype=np.int64)


def fold_values(scored: Scored) -> np.ndarray:
    """Every metric (M, F) of a run in each of its folds alone; NaN in folds that it has not."""
    run, sums = scored.run, scored.sums
    classes, folds = run.classes, run.folds

    def spread(cell: np.ndarray, cells: int, weights: np.ndarray | None = None) -> np.ndarray:
        flat = np.bincount(cell * folds + run.fold, weights, minlength=cells * folds)
        return flat.reshape(cells, folds).astype(np.float64)

    top = run.probs[np.arange(len(run.truth)), run.called]
    gap = top - (run.called == run.truth)
    zero = np.zeros(len(run.truth), dtype=np.int64)
    detected = spread(run.truth, classes, run.detected.astype(np.float64))
    auc, ap = sums.fold_auc[..., 0], sums.fold_ap[..., 0]
    return values(
        Sums(
            confusion=spread(run.truth * classes + run.called, classes**2).reshape(
                classes, classes, folds
            ),
            detected=np.where(np.isfinite(run.thresholds.T), detected, np.nan),
            gaps=spread(confidence_bins(top), ECE_BINS, gap),
            log_loss=spread(zero, 1, log_losses(run.truth, run.probs))[0],
            brier=spread(zero, 1, brier_scores(run.truth, run.probs))[0],
            fold_auc=auc[:, None, :],
            fold_ap=ap[:, None, :],
            auc=auc,
            ap=ap,
        )
    )


def denominators(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Images (M,), mean over the runs, and fewest groups (M,) of every metric."""
    tables = [_table(run) for run in runs]
    images = np.mean([images for images, _ in tables], axis=0)
    return np.rint(images).astype(np.int64), np.min([groups for _, groups in tables], axis=0)


def _table(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Images and groups (M,) of every metric, in the order of `metrics.keys`."""
    by_class = _by_class(run)
    whole = (len(run.truth), run.groups_in())
    both = []
    for name, code in keys(run.classes):
        if code is not None:
            both.append([column[code] for column in by_class[name]])
        elif name in MACROS:
            both.append([whole[0], by_class[MACROS[name]][1].min()])
        else:
            both.append([*whole])
    table = np.array(both)
    return table[:, 0], table[:, 1]


def _by_class(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and groups (C,) of every metric by class."""
    whole, classes = len(run.truth), run.classes
    together = np.zeros_like(run.fold)
    (own,), (others,) = _sides(run, run.truth, together, 1)
    (called,), (uncalled,) = _sides(run, run.called, together, 1)
    truths = np.bincount(run.truth, minlength=classes)
    calls = np.bincount(run.called, minlength=classes)
    hits = np.bincount(run.truth[run.truth == run.called], minlength=classes)
    rarer = np.minimum(own, others)
    return {
        "recall": (truths, own),
        "specificity": (whole - truths, others),
        "precision": (calls, called),
        "npv": (whole - calls, uncalled),
        "f1": (truths + calls - hits, own),
        "sens_at_spec_90": (truths, own),
        "auc_pooled": (np.where((truths > 0) & (truths < whole), whole, 0), rarer),
        "ap_pooled": (np.where(truths > 0, whole, 0), rarer),
        **_fold_means(run),
    }


def _fold_means(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (C,) of the folds in which AUC and AP are defined, and the fewest groups (C,) on
    either side of a class there."""
    place = run.fold * run.classes + run.truth
    images = np.bincount(place, minlength=run.folds * run.classes).reshape(run.folds, run.classes)
    folds = images.sum(axis=1, keepdims=True)
    rarer = np.minimum(*_sides(run, run.truth, run.fold, run.folds))
    found = {}
    for name, defined in (("auc", (images > 0) & (images < folds)), ("ap", images > 0)):
        fewest = np.where(defined, rarer, len(run.truth)).min(axis=0)
        found[name] = (np.where(defined, folds, 0).sum(axis=0), fewest)
    return found


def _sides(
    run: Run, code: np.ndarray, fold: np.ndarray, folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Groups (folds, C) with an image of each code in each fold, and with one of another code.

    code, fold (N,) of every image: as in truth or as called, and the fold or 0.
    """
    codes = run.classes
    seen = np.zeros(run.groups * folds * codes, dtype=bool)
    seen[(run.group * folds + fold) * codes + code] = True
    owner, kind = np.divmod(np.flatnonzero(seen), codes)
    where = owner % folds
    first = np.append(True, owner[1:] != owner[:-1])[: len(owner)]
    last = np.append(first[1:], True)[: len(owner)]
    cell, size = where * codes + kind, folds * codes
    own = np.bincount(cell, minlength=size).reshape(folds, codes)
    alone = np.bincount(cell[first & last], minlength=size).reshape(folds, codes)
    present = np.bincount(where[first], minlength=folds)
    return own, present[:, None] - alone


FEW_GROUPS = 50
FEW = "few lesions"
RARELY = 0.01


def estimate_row(row: Row, drawn: np.ndarray, who: Cohort, interval: Interval) -> MetricTable:
    """The table of a row from its resamples drawn (M, R)."""
    runs = [scored.run for scored in row.counted]
    images, groups = denominators(runs)
    pulls = accelerations(runs, [scored.sums for scored in row.counted])
    found: dict[Key, Estimate] = {}
    for place, key in enumerate(keys(len(who.classes))):
        value = float(row.values[place])
        low, high, method = interval_of(
            key[0], value, drawn[place], float(pulls[place]), int(groups[place]), interval
        )
        found[key] = Estimate(
            value=value,
            low=low,
            high=high,
            n=int(images[place]),
            method=method,
            marks=_marks(row, who, key, value, drawn[place], int(groups[place])),
        )
    metrics = {name: found[name, None] for name in IMAGE_METRICS}
    support, members = _sizes(row, len(who.classes))
    per_class = {}
    for code, label in enumerate(who.classes):
        table = {name: found[name, code] for name in RESAMPLED_CLASS_METRICS}
        count = int(support[code])
        marks = (row.mark,) if row.mark else ()
        table["support"] = Estimate(float(count), n=count, marks=marks)
        table["groups"] = Estimate(float(members[code]), n=count, marks=marks)
        per_class[label] = {name: table[name] for name in CLASS_METRICS}
    return MetricTable(metrics=metrics, per_class=per_class)


def interval_of(
    metric: str,
    value: float,
    drawn: np.ndarray,
    acceleration: float,
    groups: int,
    interval: Interval,
) -> tuple[float, float, str]:
    """Low, high and method; (NaN, NaN, "") where there is no interval.

    BCa, or percentile where the protocol or a biased metric asks for it and where BCa is not
    defined. Where all resamples agree on a proportion of 0 or 1: Clopper-Pearson on its groups.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return NAN, NAN, ""
    if all_agree(drawn):
        if metric in PROPORTIONS and value in (0.0, 1.0) and groups:
            exact = clopper_pearson(groups if value else 0, groups, interval.level)
            return *exact, "clopper-pearson"
        return NAN, NAN, ""
    if interval.method == "bca" and metric not in BIASED:
        found = bca(drawn, value, acceleration, interval.level)
        if found is not None:
            return *found, "bca"
    return *percentile(drawn, interval.level), "percentile"


def _marks(
    row: Row, who: Cohort, key: Key, value: float, drawn: np.ndarray, groups: int
) -> tuple[str, ...]:
    metric, code = key
    marks = [row.mark] if row.mark else []
    if metric in FOLD_MEANS:
        marks += _fold_marks(row, who, FOLD_MEANS[metric], code)
    if not np.isfinite(value):
        return (*marks, *_why_undefined(row, who, metric))
    if groups < FEW_GROUPS:
        marks.append(FEW)
    if metric in BIASED:
        marks.append("biased")
    return (*marks, *partly_undefined(drawn))


def partly_undefined(drawn: np.ndarray) -> tuple[str, ...]:
    """A mark where 1% of the resamples (R,) or more have no value: the interval is of the rest."""
    share = float(np.isnan(drawn).mean())
    return (f"undefined in {share:.0%} of resamples",) if share >= RARELY else ()


def _why_undefined(row: Row, who: Cohort, metric: str) -> list[str]:
    if metric == "sens_at_spec_90" and not all(
        scored.sorted_scores.has_thresholds.all() for scored in row.counted
    ):
        without = any(
            int(fold) not in scored.run.val for scored in row.counted for fold in scored.run.present
        )
        return ["no val predictions" if without else "val holds no other class"]
    if metric not in MACROS:
        return []
    made_of = MACROS[metric]
    places = {key: place for place, key in enumerate(keys(len(who.classes)))}
    absent = [
        label
        for code, label in enumerate(who.classes)
        if not np.isfinite(row.values[places[made_of, code]])
    ]
    return [f"undefined: {', '.join(absent)}"]


def _fold_marks(row: Row, who: Cohort, metric: str, code: int | None) -> list[str]:
    """Which folds a mean over folds is made of, where it is not all that the row has."""
    have: set[int] = set()
    defined: dict[int, set[int]] = {c: set() for c in range(len(who.classes))}
    for (_, repeat), scored in zip(row.passes, row.counted, strict=True):
        table = scored.sums.fold_auc if metric == "auc" else scored.sums.fold_ap
        offset = repeat * who.folds
        have |= {offset + int(fold) for fold in scored.run.present}
        for each, folds in defined.items():
            folds |= {offset + int(fold) for fold in np.flatnonzero(np.isfinite(table[each, :, 0]))}
    marks = []
    for each in defined if code is None else [code]:
        if defined[each] != have:
            listed = ", ".join(map(str, sorted(defined[each])))
            name = f"{who.classes[each]}: " if code is None else ""
            marks.append(f"{name}{len(defined[each])} of {len(have)} folds ({listed})")
    return marks


def _sizes(row: Row, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Tested images and groups (C,) of each class, whichever repeat they were tested in."""
    run = max((scored.run for scored in row.counted), key=lambda each: len(each.truth))
    support = np.bincount(run.truth, minlength=classes)
    members = [np.count_nonzero(np.bincount(run.group[run.truth == c])) for c in range(classes)]
    return support, np.array(members)
