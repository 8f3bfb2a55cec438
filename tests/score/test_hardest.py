"""The lesions that a row does worst on, against pandas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.score.join import build_cohort
from bench.score.metrics import log_losses
from bench.score.row import read_row
from bench.score.row_report import highest_loss_lesions
from tests.score.cohorts import World


def test_the_hardest_lesions_are_those_of_the_highest_mean_loss():
    world = World(lesions=60, repeats=2)
    dataset = world.dataset
    row = read_row(world.row("any"), world.protocol, cohort := cohort_of(world))
    runs = [each.run for each in row.counted]
    found = highest_loss_lesions(runs, dataset, cohort, most=5)
    losses = [pd.Series(log_losses(run.truth, run.probs), run.place) for run in runs]
    mean = sum(losses) / len(losses)
    lesions = mean.groupby(dataset.table["lesion_id"].to_numpy()[mean.index]).mean()
    worst = lesions.sort_values(ascending=False)[:5]
    assert [one.lesion_id for one in found] == worst.index.tolist()
    assert [one.loss for one in found] == pytest.approx(worst.tolist())
    for lesion in found:
        own = np.flatnonzero(dataset.table["lesion_id"] == lesion.lesion_id)
        assert lesion.group_id == world.roles.group_ids[own[0]]
        assert {one.image_id for one in lesion.images} == set(dataset.image_ids[own])
        assert [one.loss for one in lesion.images] == sorted(mean[own], reverse=True)
        for one in lesion.images:
            at = dataset.image_ids.tolist().index(one.image_id)
            probs = sum(run.probs[run.place == at][0] for run in runs) / len(runs)
            assert one.label == dataset.classes[dataset.labels[at]]
            assert one.called == dataset.classes[probs.argmax()]
            assert one.p_called == pytest.approx(probs.max())
            assert one.p_label == pytest.approx(probs[dataset.labels[at]])
            assert at in world.roles.rows(one.fold, "test")


def test_an_image_without_lesion_stands_for_itself():
    world = World(lesions=40)
    table = world.dataset.table.assign(lesion_id=None)
    dataset = replace(world.dataset, table=table)
    row = read_row(world.row("any"), world.protocol, cohort := cohort_of(world))
    found = highest_loss_lesions([each.run for each in row.counted], dataset, cohort)
    assert all([one.lesion_id] == [image.image_id for image in one.images] for one in found)


def cohort_of(world):
    return build_cohort(world.protocol, world.dataset, world.roles)
