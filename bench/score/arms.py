"""Arms: the same folds trained on other images, and what that changed.

The arms of a protocol test the same images, so one plan of resampled groups serves them all, and
the difference between two arms is worked out anew in every resample. Such an interval is paired: it
says how far the difference would move with other patients, conditional on the trained models.
How far it moves with the training is told apart: a t interval over the paired seeds.
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
from bench.score.join import Cohort, cohort, refuse_unknown_slots
from bench.score.metrics import IMAGE_METRICS
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row
from bench.score.significance import difference_table


def arm_view(protocol: Protocol, roles: Roles, arm: str) -> tuple[Protocol, Roles]:
    """One arm as if it were the whole protocol."""
    columns = list(protocol.split.arm_columns[arm])
    alone = protocol.split.model_copy(update={"arms": {}})
    return protocol.model_copy(update={"split": alone}), replace(
        roles, parts=roles.parts[:, columns]
    )


def ranked_view(
    protocol: Protocol, manifest: Dataset, roles: Roles, rows: Sequence[RowPredictions]
) -> tuple[Protocol, Roles, list[RowPredictions]]:
    """What is ranked of a protocol: its first arm, and the rows that have predictions for it.

    A protocol without arms is ranked as it stands. Raises PredictionError for predictions of folds
    that no arm has.
    """
    if not protocol.split.arms:
        return protocol, roles, list(rows)
    who = cohort(protocol, manifest, roles)
    for row in rows:
        refuse_unknown_slots(row, who)
    first = next(iter(protocol.split.arms))
    kept = [_of_arm(row, protocol.split.arm_columns[first]) for row in rows]
    return *arm_view(protocol, roles, first), [row for row in kept if row.test]


def arm_report(
    protocol: Protocol, manifest: Dataset, roles: Roles, rows: Sequence[RowPredictions]
) -> ArmReport | None:
    """Every row's estimates in every arm, and the differences to the first; None without arms.

    A row is worked out on the seeds and folds that all arms it has have in common; where it lacks
    the first arm, or nothing is in common, it is left out, as references are.
    """
    if not protocol.split.arms:
        return None
    views = {arm: arm_view(protocol, roles, arm) for arm in protocol.split.arms}
    whos = {arm: cohort(alone, manifest, part) for arm, (alone, part) in views.items()}
    found = []
    for row in rows:
        if row.kind != KIND:
            found += _arm_rows(row, protocol, whos)
    return ArmReport(
        kind=protocol.split.kind,
        arms=tuple(_describe(arm, roles, protocol) for arm in protocol.split.arms),
        rows=tuple(found),
    )


def _describe(arm: str, roles: Roles, protocol: Protocol) -> Arm:
    """How much an arm trains on and is tested on: means over its folds, and sums."""
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
    """The row's predictions for an arm, its folds numbered from 0."""
    fold_of = {column: fold for fold, column in enumerate(columns)}
    test, val = (
        {
            TrainingKey(slot.seed, slot.repeat, fold_of[slot.fold]): predictions
            for slot, predictions in part.items()
            if slot.fold in fold_of
        }
        for part in (row.test, row.val)
    )
    return replace(row, test=test, val=val)


def _arm_rows(row: RowPredictions, protocol: Protocol, whos: dict[str, Cohort]) -> list[ArmRow]:
    split = protocol.split
    parts = {arm: _of_arm(row, columns) for arm, columns in split.arm_columns.items()}
    parts = {arm: part for arm, part in parts.items() if part.test}
    common = set.intersection(*(set(part.test) for part in parts.values())) if parts else set()
    first = next(iter(split.arms))
    if first not in parts or not common:
        return []
    alone = protocol.model_copy(update={"split": split.model_copy(update={"arms": {}})})
    read = {arm: read_row(part.only(common), alone, whos[arm]) for arm, part in parts.items()}
    plan = Plan(whos[first].groups, protocol.interval.resamples, split.seed)
    resampled = distributions(
        [[scored.sorted_scores for scored in each.counted] for each in read.values()], plan
    )
    drawn = dict(zip(read, resampled, strict=True))
    by_seed = {arm: _by_seed(each, read[first]) for arm, each in read.items()}
    tables = {
        arm: estimate_row(each, drawn[arm], whos[arm], protocol.interval)
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
                drawn[arm] - drawn[first],
                (tables[arm], tables[first]),
                whos[first].classes,
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
    """The difference of two rows of the same passes in every metric, pass by pass."""
    apart = [
        own.values - other.values for own, other in zip(row.counted, first.counted, strict=True)
    ]
    return {
        name: tuple(float(values[place]) for values in apart)
        for place, name in enumerate(IMAGE_METRICS)
    }


def over_seeds(values: Sequence[float], level: float) -> Estimate:
    """The mean of paired differences by seed with its t interval; none of fewer than two seeds.

    It says how the difference varies with the training, and nothing of other patients. n: seeds.
    """
    count = len(values)
    mean = float(np.mean(values))
    if count < 2:  # noqa: PLR2004 - one value has no spread
        return Estimate(mean, n=count)
    half = float(stdtrit(count - 1, (1 + level) / 2) * np.std(values, ddof=1) / np.sqrt(count))
    return Estimate(mean, mean - half, mean + half, count, "t over seeds")
