"""Arms: each scored as if it were a protocol, and against the first on the same groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from bench.errors import PredictionError
from bench.predictions import TrainingKey
from bench.score.arms import arm_view, over_seeds
from bench.score.leaderboard import score
from bench.score.metrics import IMAGE_METRICS
from tests.score.cohorts import World, drawn_weights, make_row

ARMS = {"100%": ["fold0", "fold1", "fold2"], "50%": ["fold3", "fold4", "fold5"]}


class ArmWorld(World):
    """Three folds twice over: the second arm trains on half of the first one's images."""

    def __init__(self, *, control=False, kind="learning-curve", **settings):
        super().__init__(**settings)
        whole = self.roles.parts
        half = whole.copy()
        half[(whole == 1) & (np.arange(len(whole)) % 4 < 2)[:, None]] = 0
        self.roles = replace(self.roles, parts=np.concatenate([whole, half], axis=1))
        split = {"kind": kind, "arms": ARMS, "control": control}
        split = self.protocol.split.model_copy(update=split)
        self.protocol = self.protocol.model_copy(update={"split": split})

    def one_arm(self, name, arm, **rest):
        """A row of one arm alone, in a protocol of its own; same draws as `row` makes."""
        protocol, roles = arm_view(self.protocol, self.roles, arm)
        return protocol, roles, make_row(name, protocol, self.dataset, roles, **rest)


def in_arms(world, **by_arm):
    """A row put together of one row an arm."""
    test, val = {}, {}
    for arm, part in by_arm.items():
        columns = world.protocol.split.arm_columns[{"whole": "100%", "half": "50%"}[arm]]
        for into, found in ((test, part.test), (val, part.val)):
            for training, predictions in found.items():
                into[TrainingKey(training.seed, 0, columns[training.fold])] = predictions
    return replace(part, name="a", test=test, val=val)


@pytest.fixture(scope="module")
def world():
    return ArmWorld(seeds=(0, 1), resamples=300)


@pytest.fixture(scope="module")
def parts(world):
    seeds = {"seeds": (0, 1)}
    return {
        "whole": world.one_arm("whole", "100%", skill=2.0, **seeds)[2],
        "half": world.one_arm("half", "50%", skill=1.0, **seeds)[2],
    }


def test_each_arm_has_the_numbers_it_would_have_alone(world, parts):
    board = world.score(in_arms(world, **parts))
    by_arm = {row.arm: row for row in board.arms.rows}
    for arm, part in zip(("100%", "50%"), ("whole", "half"), strict=True):
        protocol, roles = arm_view(world.protocol, world.roles, arm)
        alone = score(protocol, world.dataset, roles, [parts[part]], {}).rows[0]
        assert by_arm[arm].table == alone.table
        assert by_arm[arm].complete
    assert board.rows[0].table == by_arm["100%"].table, "the first arm is the one that is ranked"
    assert board.rows[0].rank.best == 1
    assert board.folds == 3


def test_the_difference_is_paired_on_the_same_resampled_groups(world, parts):
    """Accuracy drawn by hand: weights of the plan, image by image."""
    board = world.score(in_arms(world, **parts))
    found = board.arms.rows[1].difference.metrics["accuracy"]
    group = np.unique(world.dataset.native_groups, return_inverse=True)[1]
    weights = drawn_weights(group.max() + 1, 300, world.protocol.split.seed)[group].astype(float)
    place = {name: at for at, name in enumerate(world.dataset.image_ids)}
    replicates, by_seed = [], []
    for seed in (0, 1):
        right = {}
        for part in ("whole", "half"):
            right[part] = np.zeros(len(place))
            for training, one in parts[part].test.items():
                if training.seed == seed:
                    rows = [place[name] for name in one.image_ids]
                    right[part][rows] = one.probs.argmax(1) == world.dataset.labels[rows]
        apart = right["half"] - right["whole"]
        by_seed.append(apart.mean())
        replicates.append((apart[:, None] * weights).sum(axis=0) / weights.sum(axis=0))
    assert found.value == pytest.approx(np.mean(by_seed))
    assert board.arms.rows[1].by_seed["accuracy"] == pytest.approx(by_seed)
    spread = board.arms.rows[1].over_seeds["accuracy"]
    test = ttest_1samp(by_seed, 0).confidence_interval()
    assert (spread.low, spread.high) == pytest.approx((test.low, test.high))
    wanted = np.quantile(np.mean(replicates, axis=0), [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(wanted))
    assert found.high < 0, "the arm of less skill is worse"


def test_one_seed_tells_nothing_of_the_training():
    found = over_seeds([0.02], 0.95)
    assert found.value == 0.02
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_classes_have_differences_of_their_own(world, parts):
    board = world.score(in_arms(world, **parts))
    first, other = board.arms.rows
    for label in world.dataset.classes:
        recall = other.difference.per_class[label]["recall"]
        apart = other.table.per_class[label]["recall"].value
        apart -= first.table.per_class[label]["recall"].value
        assert recall.value == pytest.approx(apart)
        assert recall.low <= recall.value <= recall.high
    assert set(other.difference.metrics) == set(IMAGE_METRICS)
    assert first.difference is None


def test_a_row_is_compared_on_what_its_arms_have_in_common(world, parts):
    row = in_arms(world, **parts)
    for missing in (TrainingKey(1, 0, 4), TrainingKey(0, 0, 5)):
        row = replace(
            row, test={training: one for training, one in row.test.items() if training != missing}
        )
    first, other = world.score(row).arms.rows
    assert not other.complete
    assert first.table.metrics["accuracy"].n == other.table.metrics["accuracy"].n
    assert "incomplete" in other.difference.metrics["accuracy"].marks[0]


def test_a_row_without_the_first_arm_is_in_no_table(world, parts):
    row = in_arms(world, half=parts["half"])
    board = world.score(row, *world.references())
    assert [one.kind for one in board.rows] == ["reference"] * 3
    assert board.arms.rows == ()
    lone = world.score(in_arms(world, whole=parts["whole"]))
    assert [one.arm for one in lone.arms.rows] == ["100%"]


def test_references_are_scored_in_the_first_arm_and_not_compared(world, parts):
    board = world.score(in_arms(world, **parts), *world.references((0, 1)))
    assert {row.name for row in board.arms.rows} == {"a"}
    assert sum(row.kind == "reference" for row in board.rows) == 3


def test_what_an_arm_trains_on_is_counted(world):
    board = world.score()
    whole, half = board.arms.arms
    assert (whole.folds, half.folds) == ((0, 1, 2), (3, 4, 5))
    assert half.train_images < whole.train_images
    for arm in (whole, half):
        trains = [world.roles.rows(column, "train") for column in arm.folds]
        groups = [pd.Series(world.roles.group_ids[rows]).nunique() for rows in trains]
        assert arm.train_images == pytest.approx(np.mean([len(rows) for rows in trains]))
        assert arm.train_groups == pytest.approx(np.mean(groups))
    assert whole.train_groups < whole.train_images
    assert whole.test_images == half.test_images == len(world.dataset)
    assert board.tested == (len(world.dataset), 120)


def test_folds_that_no_arm_has_are_refused(world, parts):
    row = in_arms(world, **parts)
    unknown = replace(row, test=row.test | {TrainingKey(0, 0, 6): row.test[TrainingKey(0, 0, 0)]})
    with pytest.raises(PredictionError, match="folds that are not in the protocol"):
        world.score(unknown)


def test_the_rows_of_a_meter_are_not_ranked(parts):
    world = ArmWorld(control=True, kind="leakage-meter", seeds=(0, 1))
    board = world.score(in_arms(world, **parts))
    assert board.rows[0].rank.best is None
    assert board.arms.rows[1].difference is not None
    assert board.arms.kind == "leakage-meter"


def test_without_arms_there_is_no_report():
    world = World()
    assert world.score(world.row("a")).arms is None
