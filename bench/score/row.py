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
    bca_levels,
    bias_corrected,
    clopper_pearson,
    percentile,
    point_sums,
    sort_scores,
)
from bench.score.join import Cohort, Run, join, refuse_unknown_trainings
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

SeedRepeat = tuple[int, int]
"""(seed, repeat): one pass over the folds."""


@dataclass(frozen=True)
class Scored:
    """A run, sorted, with the sums of its point estimates."""

    run: Run
    sorted_scores: SortedScores
    sums: Sums

    @property
    def values(self) -> np.ndarray:
        """Point estimate of every metric (M,)."""
        return values(self.sums)[:, 0]


@dataclass(frozen=True)
class Row:
    """Point estimates of a row.

    counted   the runs that the values are the mean of, in the order of `passes`
    values    every metric (M,), mean over the counted runs
    by_fold   (M, repeats x F), mean over seeds; NaN where missing
    seed_sd   (M,) over all complete seeds; NaN with fewer than two
    mark      missing part ("incomplete: 3 of 5 folds"), "" for a complete row
    confusion (C, C) images by true and predicted class, summed over the counted runs
    """

    predictions: RowPredictions
    complete: bool
    mark: str
    counted: tuple[Scored, ...]
    passes: tuple[SeedRepeat, ...]
    values: np.ndarray
    by_fold: np.ndarray
    seed_sd: np.ndarray
    confusion: np.ndarray


def read_row(row: RowPredictions, protocol: Protocol, cohort: Cohort) -> Row:
    """Join a row with the labels and compute its point estimates.

    A complete row has every fold of every repeat for every seed of the protocol, and its values are
    of these seeds; further seeds only enter `seed_sd`. An incomplete row is scored on its complete
    (seed, repeat) or, without one, on the folds that all its (seed, repeat) have in common.
    """
    refuse_unknown_trainings(row, cohort)
    if not row.test:
        raise PredictionError(f"row {row.name}: no predictions")
    by_pass: dict[SeedRepeat, list[TrainingKey]] = {}
    for training in sorted(row.test):
        by_pass.setdefault((training.seed, training.repeat), []).append(training)
    scored = {each: score_run(join(row, trainings, cohort)) for each, trainings in by_pass.items()}
    whole = {each for each, trainings in by_pass.items() if len(trainings) == cohort.folds}
    wanted = [(s, r) for s in dict.fromkeys(protocol.run.seeds) for r in range(cohort.repeats)]
    complete = whole.issuperset(wanted)
    mark = ""
    passes = wanted
    counted = [scored[each] for each in wanted if each in whole]
    if not complete:
        candidates = [each for each in wanted if each in by_pass] or sorted(by_pass)
        passes, trainings = _shown({each: by_pass[each] for each in candidates}, whole)
        counted = [
            scored[each] if len(part) == len(by_pass[each]) else score_run(join(row, part, cohort))
            for each, part in zip(passes, trainings, strict=True)
        ]
        mark = _mark(wanted, passes, trainings, cohort.folds)
    estimates = np.mean([each.values for each in counted], axis=0)
    return Row(
        predictions=row,
        complete=complete,
        mark=mark,
        counted=tuple(counted),
        passes=tuple(passes),
        values=estimates,
        by_fold=_by_fold(scored, wanted, cohort),
        seed_sd=_seed_sd({each: scored[each] for each in whole}, cohort.repeats, len(estimates)),
        confusion=np.sum([_confusion(each.sums) for each in counted], axis=0),
    )


def score_run(run: Run) -> Scored:
    """Sort a run and compute its sums."""
    sorted_scores = sort_scores(run)
    return Scored(run, sorted_scores, point_sums(sorted_scores, run.groups))


def _mark(
    wanted: Sequence[SeedRepeat],
    shown: Sequence[SeedRepeat],
    trainings: Sequence[Sequence[TrainingKey]],
    folds: int,
) -> str:
    """Mark of an incomplete row: which part of the expected trainings it is scored on."""
    if not set(shown) & set(wanted):
        expected, present = (
            listing(sorted({seed for seed, _ in part})) for part in (wanted, shown)
        )
        return f"incomplete: no fold of seed {expected}, scored on seed {present}"
    return f"incomplete: {sum(map(len, trainings))} of {len(wanted) * folds} folds"


def _shown(
    by_pass: Mapping[SeedRepeat, Sequence[TrainingKey]], whole: set[SeedRepeat]
) -> tuple[list[SeedRepeat], list[list[TrainingKey]]]:
    """What an incomplete row is scored on: complete (seed, repeat), else their common folds."""
    chosen = [each for each in by_pass if each in whole]
    if chosen:
        return chosen, [list(by_pass[each]) for each in chosen]
    folds = set.intersection(
        *({training.fold for training in trainings} for trainings in by_pass.values())
    )
    if folds:
        parts = [
            [training for training in trainings if training.fold in folds]
            for trainings in by_pass.values()
        ]
        return list(by_pass), parts
    most = max(by_pass, key=lambda each: len(by_pass[each]))
    return [most], [list(by_pass[most])]


def _by_fold(
    scored: Mapping[SeedRepeat, Scored], wanted: Sequence[SeedRepeat], cohort: Cohort
) -> np.ndarray:
    """Every metric in every fold column (M, repeats x F), mean over the seeds of the protocol."""
    chosen = [each for each in wanted if each in scored] or list(scored)
    tables = {each: fold_values(scored[each]) for each in chosen}
    width = len(next(iter(tables.values())))
    blocks = []
    for repeat in range(cohort.repeats):
        of_repeat = [table for (_, at), table in tables.items() if at == repeat]
        blocks.append(_mean_of_present(of_repeat, (width, cohort.folds)))
    return np.concatenate(blocks, axis=1)


def _mean_of_present(tables: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    if not tables:
        return np.full(shape, np.nan)
    stack = np.stack(tables)
    count = np.isfinite(stack).sum(axis=0)
    total = np.where(np.isfinite(stack), stack, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _seed_sd(whole: Mapping[SeedRepeat, Scored], repeats: int, width: int) -> np.ndarray:
    """Standard deviation (M,) over the seeds with all repeats complete."""
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
    """Every metric (M, F) of a run by fold; NaN in folds without predictions."""
    run, sums = scored.run, scored.sums
    classes, folds = run.classes, run.folds

    def spread(cell: np.ndarray, cells: int, weights: np.ndarray | None = None) -> np.ndarray:
        flat = np.bincount(cell * folds + run.fold, weights, minlength=cells * folds)
        return flat.reshape(cells, folds).astype(np.float64)

    top = run.probs[np.arange(len(run.truth)), run.predicted]
    gap = top - (run.predicted == run.truth)
    zero = np.zeros(len(run.truth), dtype=np.int64)
    detected = spread(run.truth, classes, run.detected.astype(np.float64))
    auc, ap = sums.fold_auc[..., 0], sums.fold_ap[..., 0]
    return values(
        Sums(
            confusion=spread(run.truth * classes + run.predicted, classes**2).reshape(
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
    """Denominators of every metric: images (M,), mean over runs, and groups (M,), minimum."""
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
    (predicted,), (uncalled,) = _sides(run, run.predicted, together, 1)
    truths = np.bincount(run.truth, minlength=classes)
    calls = np.bincount(run.predicted, minlength=classes)
    hits = np.bincount(run.truth[run.truth == run.predicted], minlength=classes)
    rarer = np.minimum(own, others)
    return {
        "recall": (truths, own),
        "specificity": (whole - truths, others),
        "precision": (calls, predicted),
        "npv": (whole - calls, uncalled),
        "f1": (truths + calls - hits, own),
        "sens_at_spec_90": (truths, own),
        "auc_pooled": (np.where((truths > 0) & (truths < whole), whole, 0), rarer),
        "ap_pooled": (np.where(truths > 0, whole, 0), rarer),
        **_fold_means(run),
    }


def _fold_means(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (C,) of the folds in which AUC and AP are defined, and the groups (C,) of the rarer
    side of a class, minimum over these folds."""
    place = run.fold * run.classes + run.truth
    images = np.bincount(place, minlength=run.folds * run.classes).reshape(run.folds, run.classes)
    folds = images.sum(axis=1, keepdims=True)
    rarer = np.minimum(*_sides(run, run.truth, run.fold, run.folds))
    table = {}
    for name, defined in (("auc", (images > 0) & (images < folds)), ("ap", images > 0)):
        fewest = np.where(defined, rarer, len(run.truth)).min(axis=0)
        table[name] = (np.where(defined, folds, 0).sum(axis=0), fewest)
    return table


def _sides(
    run: Run, code: np.ndarray, fold: np.ndarray, folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Groups (folds, C) with an image of each code in each fold, and with one of another code.

    code, fold (N,)  true or predicted class of every image; its fold, or 0
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
EXTREME = 0.001
"""An end beyond this quantile of the replicates, or 1 minus it, rests on very few of them."""
RARELY = 0.01


def few_mark(unit: str) -> str:
    """The mark of an estimate from few groups, with the unit of the data: "few patients"."""
    return f"few {unit if unit in ('patient', 'lesion') else 'group'}s"


def imprecise(
    method: str, value: float, replicates: np.ndarray, acceleration: float, interval: Interval
) -> tuple[str, ...]:
    """A mark if a BCa end is beyond the 0.1% or 99.9% quantile of the replicates (R,)."""
    if method != "bca":
        return ()
    levels = bca_levels(replicates[np.isfinite(replicates)], value, acceleration, interval.level)
    if levels is None or (levels[0] >= EXTREME and levels[1] <= 1 - EXTREME):
        return ()
    return ("imprecise",)


def estimate_row(
    row: Row, replicates: np.ndarray, cohort: Cohort, interval: Interval
) -> MetricTable:
    """The metric table of a row from its replicates (M, R)."""
    runs = [scored.run for scored in row.counted]
    images, groups = denominators(runs)
    acceleration = accelerations(runs, [scored.sums for scored in row.counted])
    estimates: dict[Key, Estimate] = {}
    for place, key in enumerate(keys(len(cohort.classes))):
        value = float(row.values[place])
        low, high, method = interval_of(
            key[0],
            value,
            replicates[place],
            float(acceleration[place]),
            int(groups[place]),
            interval,
        )
        estimates[key] = Estimate(
            value=value,
            low=low,
            high=high,
            n=int(images[place]),
            method=method,
            marks=(
                *_marks(row, cohort, key, value, replicates[place], int(groups[place])),
                *imprecise(method, value, replicates[place], float(acceleration[place]), interval),
            ),
        )
    metrics = {name: estimates[name, None] for name in IMAGE_METRICS}
    support, members = _sizes(row, len(cohort.classes))
    per_class = {}
    for code, label in enumerate(cohort.classes):
        table = {name: estimates[name, code] for name in RESAMPLED_CLASS_METRICS}
        count = int(support[code])
        marks = (row.mark,) if row.mark else ()
        table["support"] = Estimate(float(count), n=count, marks=marks)
        table["groups"] = Estimate(float(members[code]), n=count, marks=marks)
        per_class[label] = {name: table[name] for name in CLASS_METRICS}
    return MetricTable(metrics=metrics, per_class=per_class)


def interval_of(
    metric: str,
    value: float,
    replicates: np.ndarray,
    acceleration: float,
    groups: int,
    interval: Interval,
) -> tuple[float, float, str]:
    """Low, high and method of an interval; (NaN, NaN, "") if it is undefined.

    BCa; percentile if the protocol says so, if the metric is biased, or if BCa is undefined. ECE:
    bias-corrected. If all replicates of a proportion are 0 or 1: Clopper-Pearson on the number of
    groups.
    """
    replicates = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or not len(replicates):
        return NAN, NAN, ""
    if all_agree(replicates):
        if metric in PROPORTIONS and value in (0.0, 1.0) and groups:
            exact = clopper_pearson(groups if value else 0, groups, interval.level)
            return *exact, "clopper-pearson"
        return NAN, NAN, ""
    if metric == "ece":
        return *bias_corrected(replicates, value, interval.level), "bias-corrected"
    if interval.method == "bca" and metric not in BIASED:
        ends = bca(replicates, value, acceleration, interval.level)
        if ends is not None:
            return *ends, "bca"
    return *percentile(replicates, interval.level), "percentile"


def _marks(
    row: Row, cohort: Cohort, key: Key, value: float, replicates: np.ndarray, groups: int
) -> tuple[str, ...]:
    metric, code = key
    marks = [row.mark] if row.mark else []
    if metric in FOLD_MEANS:
        marks += _fold_marks(row, cohort, FOLD_MEANS[metric], code)
    if not np.isfinite(value):
        return (*marks, *_why_undefined(row, cohort, metric))
    if groups < FEW_GROUPS:
        marks.append(few_mark(cohort.unit))
    if metric in BIASED:
        marks.append("biased")
    return (*marks, *partly_undefined(replicates))


def partly_undefined(replicates: np.ndarray) -> tuple[str, ...]:
    """A mark if 1% of the replicates (R,) or more are undefined; the interval is of the others."""
    share = float(np.isnan(replicates).mean())
    return (f"undefined in {share:.0%} of resamples",) if share >= RARELY else ()


def _why_undefined(row: Row, cohort: Cohort, metric: str) -> list[str]:
    if metric == "sens_at_spec_90" and not all(
        scored.sorted_scores.has_thresholds.all() for scored in row.counted
    ):
        without = any(
            int(fold) not in scored.run.val for scored in row.counted for fold in scored.run.present
        )
        return ["no val predictions" if without else "val holds no other class"]
    if metric not in MACROS:
        return []
    class_metric = MACROS[metric]
    places = {key: place for place, key in enumerate(keys(len(cohort.classes)))}
    absent = [
        label
        for code, label in enumerate(cohort.classes)
        if not np.isfinite(row.values[places[class_metric, code]])
    ]
    return [f"undefined: {', '.join(absent)}"]


def _fold_marks(row: Row, cohort: Cohort, metric: str, code: int | None) -> list[str]:
    """Marks that list the folds of a mean over folds, if some folds of the row are undefined."""
    have: set[int] = set()
    defined: dict[int, set[int]] = {c: set() for c in range(len(cohort.classes))}
    for (_, repeat), scored in zip(row.passes, row.counted, strict=True):
        table = scored.sums.fold_auc if metric == "auc" else scored.sums.fold_ap
        offset = repeat * cohort.folds
        have |= {offset + int(fold) for fold in scored.run.present}
        for each, folds in defined.items():
            folds |= {offset + int(fold) for fold in np.flatnonzero(np.isfinite(table[each, :, 0]))}
    marks = []
    for each in defined if code is None else [code]:
        if defined[each] != have:
            listed = ", ".join(map(str, sorted(defined[each])))
            name = f"{cohort.classes[each]}: " if code is None else ""
            marks.append(f"{name}{len(defined[each])} of {len(have)} folds ({listed})")
    return marks


def _sizes(row: Row, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Tested images and groups (C,) of each class, from the run with most images."""
    run = max((scored.run for scored in row.counted), key=lambda each: len(each.truth))
    support = np.bincount(run.truth, minlength=classes)
    members = [np.count_nonzero(np.bincount(run.group[run.truth == c])) for c in range(classes)]
    return support, np.array(members)
