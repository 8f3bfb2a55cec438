"""The report of one row: analysis units, confusion shares, highest loss, further numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import classification_report

from bench.dataset import Dataset
from bench.errors import DataError, listing
from bench.io import map_on_all_cores
from bench.leaderboard import (
    Calibration,
    Estimate,
    HighLossImage,
    HighLossLesion,
    MetricTable,
    OperatingPoint,
    RankCurves,
    RowReport,
    UnitTable,
)
from bench.predictions import Predictions, RowPredictions
from bench.protocol import Interval, Protocol, Roles
from bench.score.arms import ranked_view
from bench.score.bootstrap import BATCH, DrawnOnce, Plan, distributions
from bench.score.calibration import calibration
from bench.score.derived_rows import averaged, temperatures, tempered, two_classes
from bench.score.join import Cohort, Run, cohort, divided
from bench.score.metric_sums import EstimateSpec, MetricSums, estimated, estimates
from bench.score.metrics import log_losses, mean_over_defined, ratio
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row, score_run
from bench.score.subgroups import attributes, subgroups, unsplit
from bench.score.thresholds import decision_curve, operating_points, rank_curves, risk_coverage

UNITS = ("lesion", "patient")


def unit_codes(manifest: Dataset) -> dict[str, np.ndarray]:
    """Which unit every image of the roster is of (N,) int, for the units that the data names."""
    found = {}
    for unit in UNITS:
        names = manifest.table[f"{unit}_id"]
        if names.notna().any():
            own = names.where(names.notna(), manifest.image_ids)
            found[unit] = np.unique(own, return_inverse=True)[1]
    return found


def unit_tables(
    row: Row, units: Mapping[str, np.ndarray], who: Cohort, plan: Plan, interval: Interval
) -> tuple[UnitTable, ...]:
    """All metrics with each of these units; units as `unit_codes` gives them."""
    found = []
    for unit, codes in units.items():
        runs = [averaged(each.run, codes) for each in row.counted]
        found.append(_unit_table(unit, codes, row, runs, who, plan, interval))
    return tuple(found)


def _unit_table(
    unit: str,
    codes: np.ndarray,
    row: Row,
    runs: Sequence[Run],
    who: Cohort,
    plan: Plan,
    interval: Interval,
) -> UnitTable:
    places = row.counted[0].run.place
    return UnitTable(
        unit=unit,
        units=len(np.unique(codes[places])),
        items=len(runs[0].truth),
        table=estimate_row(*engine(row, runs, plan), who, interval),
    )


def engine(row: Row, runs: Sequence[Run], plan: Plan) -> tuple[Row, np.ndarray]:
    """The row with other runs in place of its own, and its resamples (M, R)."""
    counted = tuple(score_run(run) for run in runs)
    (drawn,) = distributions([[each.sorted_scores for each in counted]], plan)
    values = np.mean([each.values for each in counted], axis=0)
    return replace(row, counted=counted, values=values), drawn


def confusion_shares(
    runs: Sequence[Run], plan: Plan, interval: Interval
) -> tuple[tuple[Estimate, ...], ...]:
    """The share of each class's images (rows) that is called each class (columns), mean over runs.

    A share is a class's recall where it is called right. Undefined where the class has no image.
    """
    first = runs[0]
    classes = first.classes
    ledgers = [
        MetricSums(run.groups, classes**2, run.group, run.truth * classes + run.called)
        for run in runs
    ]
    own = [first.truth == code for code in range(classes)]
    sizes = [(int(one.sum()), first.groups_in(one)) for one in own]
    asked = [EstimateSpec("recall", *size) for size in sizes for _ in range(classes)]
    found = estimates(ledgers, lambda sums: _shares(sums, classes), asked, plan, interval)
    return tuple(tuple(found[code * classes : (code + 1) * classes]) for code in range(classes))


def _shares(sums: np.ndarray, classes: int) -> np.ndarray:
    cells = sums.reshape(classes, classes, -1)
    return ratio(cells, cells.sum(axis=1, keepdims=True)).reshape(classes**2, -1)


MOST = 12


def highest_loss_lesions(
    runs: Sequence[Run], manifest: Dataset, who: Cohort, most: int = MOST
) -> tuple[HighLossLesion, ...]:
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

    def image(at: int) -> HighLossImage:
        truth, called = int(who.labels[at]), int(probs[at].argmax())
        return HighLossImage(
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
            HighLossLesion(
                str(lesions[lesion]), group, float(means[lesion]), tuple(map(image, own))
            )
        )
    return tuple(found)


MAX_FPR = 0.1


def whole(run: Run) -> tuple[int, int]:
    """Images and groups of a run."""
    return len(run.truth), run.groups_in()


def top_two(runs: Sequence[Run], plan: Plan, interval: Interval) -> Estimate:
    """Share of images whose class is among the two likeliest; ties go to the first classes."""
    ledgers = []
    for run in runs:
        own = run.probs[np.arange(len(run.truth)), run.truth][:, None]
        before = np.arange(run.classes) < run.truth[:, None]
        ahead = ((run.probs > own) | ((run.probs == own) & before)).sum(axis=1)
        ledgers.append(MetricSums(run.groups, 2, run.group, (ahead < 2).astype(np.int64)))  # noqa: PLR2004
    asked = [EstimateSpec("top2_accuracy", *whole(runs[0]))]
    return estimates(
        ledgers, lambda sums: ratio(sums[1], sums.sum(axis=0))[None], asked, plan, interval
    )[0]


def mistakes(
    runs: Sequence[Run], costs: np.ndarray, plan: Plan, interval: Interval
) -> dict[str, Estimate]:
    """Mean cost of an image, costs (C, C) by truth and call.

    `cost` of the top class, `cost_aware` of the class whose expected cost is least by the row's own
    probabilities.
    """
    found = {}
    for name in ("cost", "cost_aware"):
        ledgers = []
        for run in runs:
            called = run.called if name == "cost" else np.argmin(run.probs @ costs, axis=1)
            cell = run.truth * run.classes + called
            ledgers.append(MetricSums(run.groups, run.classes**2, run.group, cell))
        (found[name],) = estimates(
            ledgers,
            lambda sums: ratio(costs.ravel() @ sums, sums.sum(axis=0))[None],
            [EstimateSpec(name, *whole(runs[0]))],
            plan,
            interval,
        )
    return found


def parse_costs(text: str, classes: Sequence[str], where: str) -> np.ndarray:
    """A cost matrix (C, C), truth in rows, from CSV: a header `truth,<class>,...`, a row a class.

    Raises DataError that names the cell. Costs are finite and not negative; classes may stand in
    any order, each once.
    """
    filled = [line for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    lines = [[cell.strip() for cell in line.split(",")] for line in filled]
    wanted = "truth," + ",".join(classes)
    corner, *header = lines[0] if lines else [""]
    if corner != "truth" or sorted(header) != sorted(classes):  # or the costs may be transposed
        raise DataError(f"{where}: the header must be {wanted}; it is {listing([corner, *header])}")
    names = [line[0] for line in lines[1:]]
    if sorted(names) != sorted(classes):
        raise DataError(f"{where}: one row a class is needed; it has {listing(names)}")
    table = np.empty((len(classes), len(classes)))
    for line in lines[1:]:
        if len(line) != len(classes) + 1:
            raise DataError(f"{where}: row {line[0]} has {len(line) - 1} costs, not {len(classes)}")
        for label, cell in zip(header, line[1:], strict=True):
            table[classes.index(line[0]), classes.index(label)] = _cost(cell, line[0], label, where)
    return table


def _cost(cell: str, truth: str, called: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not (np.isfinite(value) and value >= 0):
        raise DataError(f"{where}: {truth} called {called} costs {cell!r}; give a number from 0 up")
    return value


def partial_auc(runs: Sequence[Run], plan: Plan, interval: Interval) -> Estimate:
    """Area under the ROC curve of two classes where specificity is 90% or more, mean over folds.

    Standardised to 0.5 by chance and 1 at best (McClish 1989), as scikit-learn's `max_fpr`.
    """
    sides = [
        MetricSums(run.groups, 2 * run.folds, run.group, 2 * run.fold + run.truth) for run in runs
    ]
    pairs = list(zip(runs, sides, strict=True))
    once = np.ones((runs[0].groups, 1), dtype=np.uint8)
    value = np.mean([_fold_mean(run, once, own.total()[:, None])[0] for run, own in pairs])
    drawn = np.mean([_resampled(run, own, plan) for run, own in pairs], axis=0)
    positives = runs[0].truth == 1
    rarer = min(runs[0].groups_in(side) for side in (positives, ~positives))
    asked = EstimateSpec("partial_auc", len(runs[0].truth), rarer)
    return estimated(asked, float(value), drawn, np.nan, interval)


def _resampled(run: Run, sides: MetricSums, plan: Plan) -> np.ndarray:
    """The mean over folds in every resample (R,); sides counts each fold's negatives, positives."""
    totals = sides.drawn(plan)
    batches = plan.batches(0, plan.resamples)
    parts = [
        _fold_mean(run, weights, totals[:, at * BATCH : (at + 1) * BATCH])
        for at, weights in enumerate(batches)
    ]
    return np.concatenate(parts)


def _fold_mean(run: Run, weights: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """The mean over folds (B,) under group weights (G, B or more), which make totals (2 F, B):
    negatives and positives of each fold."""
    weights = weights[:, : totals.shape[1]]
    order, sizes = divided(run.orders[1], run.fold, run.folds)
    orders = np.split(order, np.cumsum(sizes)[:-1])
    areas = [
        _area(run, orders[fold], weights, *totals[2 * fold : 2 * fold + 2]) for fold in run.present
    ]
    return np.asarray(mean_over_defined(np.stack(areas)[None])[0])


def _area(
    run: Run, order: np.ndarray, weights: np.ndarray, negatives: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """Standardised partial area (B,) of images in descending order of score, of which so many
    (B,) are drawn."""
    positive = run.truth[order] == 1
    score = run.probs[order, 1]
    allowed = MAX_FPR * negatives
    top = np.searchsorted(np.cumsum(~positive), 2 * MAX_FPR * (~positive).sum()) + 1
    for stop in (min(int(top), len(order)), len(order)):  # seldom more than the head is needed
        ends = np.flatnonzero(np.append(score[1:stop] != score[: stop - 1], stop == len(order)))
        if not len(ends):
            continue
        drawn = weights[run.group[order[:stop]]].astype(np.float64)
        sides = (~positive[:stop], positive[:stop])
        met, hit = (np.cumsum(drawn * side[:, None], axis=0)[ends] for side in sides)
        if stop == len(order) or not (met[-1] < allowed).any():
            break
    false, true = (np.concatenate([np.zeros((1, found.shape[1])), found]) for found in (met, hit))
    step, rise = np.diff(false, axis=0), np.diff(true, axis=0)
    width = np.clip(allowed - false[:-1], 0, step)  # how much of each step counts
    share = np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    area = ratio((width * (true[:-1] + share * rise / 2)).sum(axis=0), negatives * positives)
    least, most = MAX_FPR**2 / 2, MAX_FPR
    return 0.5 * (1 + (area - least) / (most - least))


RESAMPLES = 1000
"""Resamples of everything here, the first of the leaderboard's own."""

MALIGNANT = "malignant"
BENIGN = "benign"


def row_reports(
    protocol: Protocol,
    manifest: Dataset,
    roles: Roles,
    rows: Sequence[RowPredictions],
    costs: np.ndarray | None = None,
) -> dict[str, RowReport]:
    """A closer look at every row but references, by its name; as in `score`, at its first arm.

    costs (C, C) of calling a truth (rows) something (columns). Raises as `score` does.
    """
    protocol, roles, rows = ranked_view(protocol, manifest, roles, rows)
    who = cohort(protocol, manifest, roles)
    resamples = min(RESAMPLES, protocol.interval.resamples)
    plan = DrawnOnce(who.groups, resamples, protocol.split.seed)
    look = _Look(manifest, who, plan, protocol.interval, costs)
    asked = [row for row in rows if row.kind != KIND]
    plan.draw()
    looks = map_on_all_cores(lambda row: look.at(read_row(row, protocol, who)), asked)
    return {row.name: one for row, one in zip(asked, looks, strict=True)}


class _Look:
    """What every row is looked at with."""

    def __init__(
        self,
        manifest: Dataset,
        who: Cohort,
        plan: DrawnOnce,
        interval: Interval,
        costs: np.ndarray | None,
    ) -> None:
        self.manifest, self.who, self.plan, self.interval = manifest, who, plan, interval
        self.costs = costs
        self.attributes, self.units = attributes(manifest), unit_codes(manifest)
        self.malignant = [manifest.classes.index(label) for label in manifest.malignant]

    def at(self, row: Row) -> RowReport:
        """The closer look at one row."""
        runs = [each.run for each in row.counted]
        two = [two_classes(run, self.malignant) for run in runs] if self.malignant else []
        degrees = [temperatures(run) for run in runs]
        known = all(
            np.isfinite(degree[run.present]).all()
            for run, degree in zip(runs, degrees, strict=True)
        )
        warm = [tempered(*each) for each in zip(runs, degrees, strict=True)] if known else []
        warm_two = [two_classes(run, self.malignant) for run in warm] if two else []
        groups, gaps = subgroups(runs, two, self.attributes, self.plan, self.interval)
        return RowReport(
            resamples=self.plan.resamples,
            malignant_classes=self.manifest.malignant,
            units=unit_tables(row, self.units, self.who, self.plan, self.interval),
            extras=self._extras(runs, two),
            malignant=self._malignant(row, two),
            operating=self._operating(runs, two),
            temperature=tuple(
                float(degree[fold])
                for run, degree in zip(runs, degrees, strict=True)
                for fold in run.present
            )
            if known
            else (),
            calibration=self._calibration(runs, two, warm, warm_two),
            decision=decision_curve(two, warm_two, self.plan, self.interval.level) if two else None,
            selective=risk_coverage(runs, self.plan, self.interval.level),
            ranking=self._ranking(runs[0], two),
            subgroups=groups,
            gaps=gaps,
            unsplit=unsplit(self.attributes),
            calls=confusion_shares(runs, self.plan, self.interval),
            hardest=highest_loss_lesions(runs, self.manifest, self.who),
        )

    def _extras(self, runs: Sequence[Run], two: Sequence[Run]) -> Mapping[str, Estimate]:
        found = {"top2_accuracy": top_two(runs, self.plan, self.interval)}
        if two:
            found["partial_auc"] = partial_auc(two, self.plan, self.interval)
        if self.costs is not None:
            found |= mistakes(runs, self.costs, self.plan, self.interval)
        return found

    def _malignant(self, row: Row, two: Sequence[Run]) -> MetricTable | None:
        if not two:
            return None
        who = replace(self.who, classes=(BENIGN, MALIGNANT))
        return estimate_row(*engine(row, two, self.plan), who, self.interval)

    def _operating(self, runs: Sequence[Run], two: Sequence[Run]) -> tuple[OperatingPoint, ...]:
        found = operating_points(two, 1, MALIGNANT, self.plan, self.interval) if two else ()
        for code in self.malignant:
            target = self.manifest.classes[code]
            found += operating_points(runs, code, target, self.plan, self.interval)
        return found

    def _calibration(
        self,
        runs: Sequence[Run],
        two: Sequence[Run],
        warm: Sequence[Run],
        warm_two: Sequence[Run],
    ) -> tuple[Calibration, ...]:
        pairs = [(runs, two, False), *([(warm, warm_two, True)] if warm else [])]
        return tuple(
            calibration(
                these, self.manifest.classes, malignant, self.plan, self.interval, tempered=after
            )
            for these, malignant, after in pairs
        )

    def _ranking(self, run: Run, two: Sequence[Run]) -> tuple[RankCurves, ...]:
        asked = [(two[0], 1, MALIGNANT)] if two else []
        asked += [(run, code, label) for code, label in enumerate(self.manifest.classes)]
        curves = (rank_curves(*one, self.plan, self.interval.level) for one in asked)
        return tuple(curve for curve in curves if curve is not None)


@dataclass(frozen=True)
class Shown:
    """An image by id, the class it was called, and how sure that was."""

    image_id: str
    called: int
    probability: float


def most_confident(
    predictions: Predictions, labels: np.ndarray, label: int
) -> tuple[Shown | None, Shown | None]:
    """Of the images of a class, the surest right and the surest wrong one; None where none is.

    labels (N,) in the order of the predictions. The surest rather than any: a rule without a draw,
    and the mistakes made with the most conviction are the ones to look at. Ties go to the first id.
    """
    called, sure = predictions.probs.argmax(axis=1), predictions.probs.max(axis=1)
    order = np.lexsort((predictions.image_ids.astype(str), -sure))
    found = []
    for right in (True, False):
        fits = [i for i in order if labels[i] == label and (called[i] == label) is np.bool_(right)]
        found.append(
            Shown(str(predictions.image_ids[fits[0]]), int(called[fits[0]]), float(sure[fits[0]]))
            if fits
            else None
        )
    return found[0], found[1]


def report_text(title: str, classes: Sequence[str], labels: np.ndarray, probs: np.ndarray) -> str:
    """Precision, recall, F1 and support by class of probabilities (N, C) with labels (N,).

    Points only, without intervals: those stand on the leaderboard. Undefined is nan.
    """
    table = classification_report(
        labels,
        probs.argmax(axis=1),
        labels=np.arange(len(classes)),
        target_names=list(classes),
        digits=3,
        zero_division=np.nan,
    )
    return f"{title}\n\n{table}"
