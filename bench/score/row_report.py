"""The report of one row: analysis units, confusion shares, highest losses, further metrics."""

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
from bench.score.join import Cohort, Run, build_cohort, divided
from bench.score.metric_sums import EstimateSpec, MetricSums, estimated, estimates
from bench.score.metrics import log_losses, mean_over_defined, ratio
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row, score_run
from bench.score.subgroups import attributes, subgroups, unsplit
from bench.score.thresholds import decision_curve, operating_points, rank_curves, risk_coverage

UNITS = ("lesion", "patient")


def unit_codes(dataset: Dataset) -> dict[str, np.ndarray]:
    """Unit number of every image (N,) int, for each analysis unit in the metadata."""
    codes = {}
    for unit in UNITS:
        names = dataset.table[f"{unit}_id"]
        if names.notna().any():
            own = names.where(names.notna(), dataset.image_ids)
            codes[unit] = np.unique(own, return_inverse=True)[1]
    return codes


def unit_tables(
    row: Row, units: Mapping[str, np.ndarray], cohort: Cohort, plan: Plan, interval: Interval
) -> tuple[UnitTable, ...]:
    """All metrics with each of these analysis units; units are those of `unit_codes`."""
    tables = []
    for unit, codes in units.items():
        runs = [averaged(each.run, codes) for each in row.counted]
        tables.append(_unit_table(unit, codes, row, runs, cohort, plan, interval))
    return tuple(tables)


def _unit_table(
    unit: str,
    codes: np.ndarray,
    row: Row,
    runs: Sequence[Run],
    cohort: Cohort,
    plan: Plan,
    interval: Interval,
) -> UnitTable:
    places = row.counted[0].run.place
    return UnitTable(
        unit=unit,
        units=len(np.unique(codes[places])),
        items=len(runs[0].truth),
        table=estimate_row(*score_derived(row, runs, plan), cohort, interval),
    )


def score_derived(row: Row, runs: Sequence[Run], plan: Plan) -> tuple[Row, np.ndarray]:
    """The row with derived runs instead of its runs, and its replicates (M, R)."""
    counted = tuple(score_run(run) for run in runs)
    (replicates,) = distributions([[each.sorted_scores for each in counted]], plan)
    values = np.mean([each.values for each in counted], axis=0)
    return replace(row, counted=counted, values=values), replicates


def confusion_shares(
    runs: Sequence[Run], plan: Plan, interval: Interval
) -> tuple[tuple[Estimate, ...], ...]:
    """Row-normalised confusion matrix (true class in rows) with intervals, mean over runs.

    The diagonal is the recall of each class. Undefined for a class without images.
    """
    first = runs[0]
    classes = first.classes
    all_sums = [
        MetricSums(run.groups, classes**2, run.group, run.truth * classes + run.predicted)
        for run in runs
    ]
    own = [first.truth == code for code in range(classes)]
    sizes = [(int(images.sum()), first.groups_in(images), first.unit) for images in own]
    specs = [EstimateSpec("recall", *size) for size in sizes for _ in range(classes)]
    shares = estimates(all_sums, lambda sums: _shares(sums, classes), specs, plan, interval)
    return tuple(tuple(shares[code * classes : (code + 1) * classes]) for code in range(classes))


def _shares(sums: np.ndarray, classes: int) -> np.ndarray:
    cells = sums.reshape(classes, classes, -1)
    return ratio(cells, cells.sum(axis=1, keepdims=True)).reshape(classes**2, -1)


MOST = 12


def highest_loss_lesions(
    runs: Sequence[Run], dataset: Dataset, cohort: Cohort, most: int = MOST
) -> tuple[HighLossLesion, ...]:
    """The lesions with the highest mean log loss over their tested images, highest first.

    All tested images of a lesion are listed, correct ones too. An image without a lesion id is its
    own lesion. Equal losses are sorted by name.
    """
    images = len(cohort.labels)
    passes, loss, fold = np.zeros(images), np.zeros(images), np.zeros(images, dtype=np.int64)
    probs = np.zeros((images, len(cohort.classes)))
    for run in reversed(runs):  # the fold of the first repeat is kept
        passes[run.place] += 1
        loss[run.place] += log_losses(run.truth, run.probs)
        probs[run.place] += run.probs
        fold[run.place] = run.fold
    tested = np.flatnonzero(passes)
    loss[tested] /= passes[tested]
    probs[tested] /= passes[tested, None]
    names = dataset.table["lesion_id"]
    known = names.where(names.notna(), dataset.image_ids).to_numpy(dtype=object)
    lesions, member = np.unique(known[tested].astype(str), return_inverse=True)
    means = np.bincount(member, loss[tested]) / np.bincount(member)

    def image(at: int) -> HighLossImage:
        truth, predicted = int(cohort.labels[at]), int(probs[at].argmax())
        return HighLossImage(
            image_id=str(dataset.image_ids[at]),
            fold=int(fold[at]),
            label=cohort.classes[truth],
            called=cohort.classes[predicted],
            p_label=float(probs[at, truth]),
            p_called=float(probs[at, predicted]),
            loss=float(loss[at]),
        )

    lesions_found = []
    for lesion in np.argsort(-means, kind="stable")[:most]:
        own = tested[member == lesion]
        own = own[np.argsort(-loss[own], kind="stable")]
        group = str(cohort.roles.group_ids[own[0]])
        lesions_found.append(
            HighLossLesion(
                str(lesions[lesion]), group, float(means[lesion]), tuple(map(image, own))
            )
        )
    return tuple(lesions_found)


MAX_FPR = 0.1


def whole(run: Run) -> tuple[int, int, str]:
    """Images, groups and unit of a run."""
    return len(run.truth), run.groups_in(), run.unit


def top_two(runs: Sequence[Run], plan: Plan, interval: Interval) -> Estimate:
    """Top-2 accuracy; ties go to the first classes."""
    all_sums = []
    for run in runs:
        own = run.probs[np.arange(len(run.truth)), run.truth][:, None]
        before = np.arange(run.classes) < run.truth[:, None]
        ahead = ((run.probs > own) | ((run.probs == own) & before)).sum(axis=1)
        all_sums.append(MetricSums(run.groups, 2, run.group, (ahead < 2).astype(np.int64)))  # noqa: PLR2004
    specs = [EstimateSpec("top2_accuracy", *whole(runs[0]))]
    return estimates(
        all_sums, lambda sums: ratio(sums[1], sums.sum(axis=0))[None], specs, plan, interval
    )[0]


def expected_costs(
    runs: Sequence[Run], costs: np.ndarray, plan: Plan, interval: Interval
) -> dict[str, Estimate]:
    """Mean cost of an image; costs (C, C) by true (rows) and predicted class (columns).

    `cost` predicts the most probable class, `cost_aware` the class with the lowest expected cost
    under the predicted probabilities.
    """
    expected = {}
    for name in ("cost", "cost_aware"):
        all_sums = []
        for run in runs:
            predicted = run.predicted if name == "cost" else np.argmin(run.probs @ costs, axis=1)
            cell = run.truth * run.classes + predicted
            all_sums.append(MetricSums(run.groups, run.classes**2, run.group, cell))
        (expected[name],) = estimates(
            all_sums,
            lambda sums: ratio(costs.ravel() @ sums, sums.sum(axis=0))[None],
            [EstimateSpec(name, *whole(runs[0]))],
            plan,
            interval,
        )
    return expected


def parse_costs(text: str, classes: Sequence[str], where: str) -> np.ndarray:
    """A cost matrix (C, C), truth in rows, from CSV: a header `truth,<class>,...`, a row a class.

    Raises DataError that names the cell. Costs are finite and not negative; classes may be in
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


def _cost(cell: str, truth: str, predicted: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not (np.isfinite(value) and value >= 0):
        raise DataError(
            f"{where}: {truth} called {predicted} costs {cell!r}; give a number from 0 up"
        )
    return value


def partial_auc(runs: Sequence[Run], plan: Plan, interval: Interval) -> Estimate:
    """Partial AUC of two classes at a specificity of 90% or more, mean over folds.

    Standardised: 0.5 by chance, 1 at best (McClish 1989), as `max_fpr` of scikit-learn.
    """
    sides = [
        MetricSums(run.groups, 2 * run.folds, run.group, 2 * run.fold + run.truth) for run in runs
    ]
    pairs = list(zip(runs, sides, strict=True))
    once = np.ones((runs[0].groups, 1), dtype=np.uint8)
    value = np.mean([_fold_mean(run, once, own.total()[:, None])[0] for run, own in pairs])
    replicates = np.mean([_resampled(run, own, plan) for run, own in pairs], axis=0)
    positives = runs[0].truth == 1
    rarer = min(runs[0].groups_in(side) for side in (positives, ~positives))
    spec = EstimateSpec("partial_auc", len(runs[0].truth), rarer, runs[0].unit)
    return estimated(spec, float(value), replicates, np.nan, interval)


def _resampled(run: Run, sides: MetricSums, plan: Plan) -> np.ndarray:
    """Partial AUC in every resample (R,); sides counts negatives and positives of each fold."""
    totals = sides.replicates(plan)
    batches = plan.batches(0, plan.resamples)
    parts = [
        _fold_mean(run, weights, totals[:, at * BATCH : (at + 1) * BATCH])
        for at, weights in enumerate(batches)
    ]
    return np.concatenate(parts)


def _fold_mean(run: Run, weights: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Mean over folds (B,) under group weights (G, B or more) with these totals (2 F, B): negatives
    and positives of each fold."""
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
    """Standardised partial area (B,) of images in descending order of score, given the weight of
    all negatives and positives (B,)."""
    positive = run.truth[order] == 1
    score = run.probs[order, 1]
    allowed = MAX_FPR * negatives
    top = np.searchsorted(np.cumsum(~positive), 2 * MAX_FPR * (~positive).sum()) + 1
    for stop in (min(int(top), len(order)), len(order)):  # the first part is nearly always enough
        ends = np.flatnonzero(np.append(score[1:stop] != score[: stop - 1], stop == len(order)))
        if not len(ends):
            continue
        image_weights = weights[run.group[order[:stop]]].astype(np.float64)
        sides = (~positive[:stop], positive[:stop])
        met, hit = (np.cumsum(image_weights * side[:, None], axis=0)[ends] for side in sides)
        if stop == len(order) or not (met[-1] < allowed).any():
            break
    false, true = (np.concatenate([np.zeros((1, side.shape[1])), side]) for side in (met, hit))
    step, rise = np.diff(false, axis=0), np.diff(true, axis=0)
    width = np.clip(allowed - false[:-1], 0, step)  # the part of each step below the limit
    share = np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    area = ratio((width * (true[:-1] + share * rise / 2)).sum(axis=0), negatives * positives)
    least, most = MAX_FPR**2 / 2, MAX_FPR
    return 0.5 * (1 + (area - least) / (most - least))


RESAMPLES = 1000
"""Resamples of the row report: the first ones of the leaderboard."""

MALIGNANT = "malignant"
BENIGN = "benign"


def row_reports(
    protocol: Protocol,
    dataset: Dataset,
    roles: Roles,
    rows: Sequence[RowPredictions],
    costs: np.ndarray | None = None,
) -> dict[str, RowReport]:
    """The report of every row except reference rows, by row name; of the first arm, as in `score`.

    costs (C, C) by true (rows) and predicted class (columns). Raises as `score` does.
    """
    protocol, roles, rows = ranked_view(protocol, dataset, roles, rows)
    cohort = build_cohort(protocol, dataset, roles)
    resamples = min(RESAMPLES, protocol.interval.resamples)
    plan = DrawnOnce(cohort.groups, resamples, protocol.split.seed)
    reporter = _Reporter(dataset, cohort, plan, protocol.interval, costs)
    selected = [row for row in rows if row.kind != KIND]
    plan.draw()
    reports = map_on_all_cores(
        lambda row: reporter.report(read_row(row, protocol, cohort)), selected
    )
    return {row.name: report for row, report in zip(selected, reports, strict=True)}


class _Reporter:
    """Inputs that the reports of all rows share."""

    def __init__(
        self,
        dataset: Dataset,
        cohort: Cohort,
        plan: DrawnOnce,
        interval: Interval,
        costs: np.ndarray | None,
    ) -> None:
        self.dataset, self.cohort, self.plan, self.interval = dataset, cohort, plan, interval
        self.costs = costs
        self.attributes, self.units = attributes(dataset), unit_codes(dataset)
        self.malignant = [dataset.classes.index(label) for label in dataset.malignant]

    def report(self, row: Row) -> RowReport:
        """The report of one row."""
        runs = [each.run for each in row.counted]
        two = [two_classes(run, self.malignant) for run in runs] if self.malignant else []
        fitted = [temperatures(run) for run in runs]
        known = all(
            np.isfinite(temperature[run.present]).all()
            for run, temperature in zip(runs, fitted, strict=True)
        )
        calibrated = [tempered(*each) for each in zip(runs, fitted, strict=True)] if known else []
        calibrated_two = [two_classes(run, self.malignant) for run in calibrated] if two else []
        groups, gaps = subgroups(runs, two, self.attributes, self.plan, self.interval)
        return RowReport(
            resamples=self.plan.resamples,
            malignant_classes=self.dataset.malignant,
            units=unit_tables(row, self.units, self.cohort, self.plan, self.interval),
            extras=self._extras(runs, two),
            malignant=self._malignant(row, two),
            operating=self._operating(runs, two),
            temperature=tuple(
                float(temperature[fold])
                for run, temperature in zip(runs, fitted, strict=True)
                for fold in run.present
            )
            if known
            else (),
            calibration=self._calibration(runs, two, calibrated, calibrated_two),
            decision=decision_curve(two, calibrated_two, self.plan, self.interval.level)
            if two
            else None,
            selective=risk_coverage(runs, self.plan, self.interval.level),
            ranking=self._ranking(runs[0], two),
            subgroups=groups,
            gaps=gaps,
            unsplit=unsplit(self.attributes),
            calls=confusion_shares(runs, self.plan, self.interval),
            hardest=highest_loss_lesions(runs, self.dataset, self.cohort),
        )

    def _extras(self, runs: Sequence[Run], two: Sequence[Run]) -> Mapping[str, Estimate]:
        extras = {"top2_accuracy": top_two(runs, self.plan, self.interval)}
        if two:
            extras["partial_auc"] = partial_auc(two, self.plan, self.interval)
        if self.costs is not None:
            extras |= expected_costs(runs, self.costs, self.plan, self.interval)
        return extras

    def _malignant(self, row: Row, two: Sequence[Run]) -> MetricTable | None:
        if not two:
            return None
        cohort = replace(self.cohort, classes=(BENIGN, MALIGNANT))
        return estimate_row(*score_derived(row, two, self.plan), cohort, self.interval)

    def _operating(self, runs: Sequence[Run], two: Sequence[Run]) -> tuple[OperatingPoint, ...]:
        points = operating_points(two, 1, MALIGNANT, self.plan, self.interval) if two else ()
        for code in self.malignant:
            target = self.dataset.classes[code]
            points += operating_points(runs, code, target, self.plan, self.interval)
        return points

    def _calibration(
        self,
        runs: Sequence[Run],
        two: Sequence[Run],
        calibrated: Sequence[Run],
        calibrated_two: Sequence[Run],
    ) -> tuple[Calibration, ...]:
        pairs = [(runs, two, False), *([(calibrated, calibrated_two, True)] if calibrated else [])]
        return tuple(
            calibration(
                these, self.dataset.classes, malignant, self.plan, self.interval, tempered=after
            )
            for these, malignant, after in pairs
        )

    def _ranking(self, run: Run, two: Sequence[Run]) -> tuple[RankCurves, ...]:
        targets = [(two[0], 1, MALIGNANT)] if two else []
        targets += [(run, code, label) for code, label in enumerate(self.dataset.classes)]
        curves = (rank_curves(*target, self.plan, self.interval.level) for target in targets)
        return tuple(curve for curve in curves if curve is not None)


@dataclass(frozen=True)
class Shown:
    """An image id, its predicted class, and the probability of that class."""

    image_id: str
    called: int
    probability: float


def most_confident(
    predictions: Predictions, labels: np.ndarray, label: int
) -> tuple[Shown | None, Shown | None]:
    """The most confident correct and the most confident wrong image of a class, or None.

    labels (N,) in the order of the predictions. The rule is deterministic; ties go to the first id.
    """
    predicted, sure = predictions.probs.argmax(axis=1), predictions.probs.max(axis=1)
    order = np.lexsort((predictions.image_ids.astype(str), -sure))
    shown = []
    for right in (True, False):
        fits = [
            i for i in order if labels[i] == label and (predicted[i] == label) is np.bool_(right)
        ]
        shown.append(
            Shown(
                str(predictions.image_ids[fits[0]]), int(predicted[fits[0]]), float(sure[fits[0]])
            )
            if fits
            else None
        )
    return shown[0], shown[1]


def report_text(title: str, classes: Sequence[str], labels: np.ndarray, probs: np.ndarray) -> str:
    """Precision, recall, F1 and support by class of probabilities (N, C) with labels (N,).

    Point estimates only; the leaderboard has the intervals. Undefined is nan.
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
