"""Arms: the same test folds with different training images, and the paired differences.

The arms of a protocol test the same images, so all of them share one plan of resampled groups, and
the difference of two arms is computed in every resample. The interval is paired: it covers other
patients, conditional on the trained models. A separate t interval over paired seeds covers the
variation of the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from bench.dataset import Dataset
from bench.leaderboard import Arm, ArmReport, ArmRow, Estimate
from bench.predictions import RowPredictions, TrainingKey
from bench.protocol import Protocol, Roles
from bench.score.bootstrap import Plan, distributions
from bench.score.join import Cohort, build_cohort, refuse_unknown_trainings
from bench.score.metrics import IMAGE_METRICS
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row
from bench.score.verdicts import difference_table


def arm_view(protocol: Protocol, roles: Roles, arm: str) -> tuple[Protocol, Roles]:
    """One arm as a protocol without arms, with its columns of the roles."""
    columns = list(protocol.split.arm_columns[arm])
    alone = protocol.split.model_copy(update={"arms": {}})
    return protocol.model_copy(update={"split": alone}), replace(
        roles, parts=roles.parts[:, columns]
    )


def ranked_view(
    protocol: Protocol, dataset: Dataset, roles: Roles, rows: Sequence[RowPredictions]
) -> tuple[Protocol, Roles, list[RowPredictions]]:
    """The ranked part of a protocol: its first arm, and the rows with predictions for it.

    A protocol without arms is returned unchanged. Raises PredictionError for predictions of folds
    that no arm has.
    """
    if not protocol.split.arms:
        return protocol, roles, list(rows)
    cohort = build_cohort(protocol, dataset, roles)
    for row in rows:
        refuse_unknown_trainings(row, cohort)
    first = next(iter(protocol.split.arms))
    kept = [_of_arm(row, protocol.split.arm_columns[first]) for row in rows]
    return *arm_view(protocol, roles, first), [row for row in kept if row.test]


def arm_report(
    protocol: Protocol, dataset: Dataset, roles: Roles, rows: Sequence[RowPredictions]
) -> ArmReport | None:
    """Every row's estimates in every arm, and the differences to the first; None without arms.

    A row is scored on the seeds and folds that all its arms have in common. Reference rows are left
    out, and so are rows without the first arm or without a common seed and fold.
    """
    if not protocol.split.arms:
        return None
    views = {arm: arm_view(protocol, roles, arm) for arm in protocol.split.arms}
    cohorts = {arm: build_cohort(alone, dataset, part) for arm, (alone, part) in views.items()}
    arm_rows = []
    for row in rows:
        if row.kind != KIND:
            arm_rows += _arm_rows(row, protocol, cohorts)
    return ArmReport(
        kind=protocol.split.kind,
        arms=tuple(_describe(arm, roles, protocol) for arm in protocol.split.arms),
        rows=tuple(arm_rows),
    )


def _describe(arm: str, roles: Roles, protocol: Protocol) -> Arm:
    """Size of an arm: training images and groups (mean over folds), test images (sum)."""
    columns = protocol.split.arm_columns[arm]
    trains = [roles.rows(column, "train") for column in columns]
    return Arm(
        name=arm,
        folds=columns,
        train_images=float(np.mean([len(rows) for rows in trains])),
        train_groups=float(np.mean([len(set(roles.group_ids[rows].tolist())) for rows in trains])),
        test_images=sum(len(roles.rows(column, "test")) for column in columns),
    )


def _of_arm(row: RowPredictions, columns: Sequence[int]) -> RowPredictions:
    """The predictions of a row for one arm, folds renumbered from 0."""
    fold_of = {column: fold for fold, column in enumerate(columns)}
    test, val = (
        {
            TrainingKey(training.seed, training.repeat, fold_of[training.fold]): predictions
            for training, predictions in part.items()
            if training.fold in fold_of
        }
        for part in (row.test, row.val)
    )
    return replace(row, test=test, val=val)


def _arm_rows(row: RowPredictions, protocol: Protocol, cohorts: dict[str, Cohort]) -> list[ArmRow]:
    split = protocol.split
    parts = {arm: _of_arm(row, columns) for arm, columns in split.arm_columns.items()}
    parts = {arm: part for arm, part in parts.items() if part.test}
    common = set.intersection(*(set(part.test) for part in parts.values())) if parts else set()
    first = next(iter(split.arms))
    if first not in parts or not common:
        return []
    alone = protocol.model_copy(update={"split": split.model_copy(update={"arms": {}})})
    read = {arm: read_row(part.only(common), alone, cohorts[arm]) for arm, part in parts.items()}
    plan = Plan(cohorts[first].groups, protocol.interval.resamples, split.seed)
    resampled = distributions(
        [[scored.sorted_scores for scored in each.counted] for each in read.values()], plan
    )
    replicates = dict(zip(read, resampled, strict=True))
    by_seed = {arm: _by_seed(each, read[first]) for arm, each in read.items()}
    tables = {
        arm: estimate_row(each, replicates[arm], cohorts[arm], protocol.interval)
        for arm, each in read.items()
    }
    return [
        ArmRow(
            name=row.name,
            arm=arm,
            seeds=tuple(seed for seed, _ in part.passes),
            complete=part.complete,
            table=tables[arm],
            difference=None
            if arm == first
            else difference_table(
                (part, read[first]),
                replicates[arm] - replicates[first],
                (tables[arm], tables[first]),
                cohorts[first].classes,
                protocol.interval.level,
            ),
            by_seed=by_seed[arm],
            over_seeds={
                name: over_seeds(values, protocol.interval.level)
                for name, values in by_seed[arm].items()
            },
        )
        for arm, part in read.items()
    ]


def _by_seed(row: Row, first: Row) -> dict[str, tuple[float, ...]]:
    """Differences of two rows in every metric, by (seed, repeat); both have the same ones."""
    differences = [
        own.values - other.values for own, other in zip(row.counted, first.counted, strict=True)
    ]
    return {
        name: tuple(float(values[place]) for values in differences)
        for place, name in enumerate(IMAGE_METRICS)
    }


def over_seeds(values: Sequence[float], level: float) -> Estimate:
    """Mean of paired differences by seed with a t interval; no interval below two seeds.

    Covers the variation of the training, not of the patients. n is the number of seeds.
    """
    count = len(values)
    mean = float(np.mean(values))
    if count < 2:  # noqa: PLR2004 - one value has no spread
        return Estimate(mean, n=count)
    half = float(stdtrit(count - 1, (1 + level) / 2) * np.std(values, ddof=1) / np.sqrt(count))
    return Estimate(mean, mean - half, mean + half, count, "t over seeds")
