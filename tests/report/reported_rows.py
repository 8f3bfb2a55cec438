"""Row reports of scored synthetic rows, for the tests of row pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.dataset import Dataset
from bench.leaderboard import Leaderboard, RowFacts, RowReport
from bench.predictions import RowPredictions
from bench.score.leaderboard import score
from bench.score.row_report import parse_costs, row_reports
from tests.score.cohorts import CLASSES, World

WORST = "<script>alert('/../x')</script>"
COSTS = "truth,bkl,mel,nv,vasc\nbkl,0,1,1,1\nmel,9,0,9,9\nnv,1,1,0,1\nvasc,1,1,1,0\n"


def dressed(manifest: Dataset) -> Dataset:
    """A cohort with people, ages and sites, one of them hostile."""
    lesion = np.arange(len(manifest)) // 2
    table = manifest.table.assign(
        sex=np.where(lesion % 10 < 5, "female", "male"),
        age=np.where(lesion < 30, 15.0, 45.0),
        localization=np.where(lesion % 3 == 0, "</td><script>alert(1)</script>", "back"),
        patient_id=[f"P{one // 4}" for one in lesion],
    )
    return replace(manifest, table=table, malignant=("mel",))


def world() -> World:
    """A cohort under a protocol."""
    made = World(lesions=320, resamples=100)
    made.dataset = dressed(made.dataset)
    return made


def rows(world: World) -> list[RowPredictions]:
    """A good row, a hostile one, one that lacks a fold, one without val, and references."""
    part = world.row("part")
    test = {slot: one for slot, one in part.test.items() if slot.fold != 1}
    return [
        world.row("Plain", skill=2.0),
        world.row(WORST),
        replace(part, test=test),
        world.row("blind", val=False),
        *world.references(),
    ]


def looks(world: World, rows: Sequence[RowPredictions]) -> Mapping[str, RowReport]:
    """The row report of each row."""
    costs = parse_costs(COSTS, CLASSES, "costs.csv")
    return row_reports(world.protocol, world.dataset, world.roles, rows, costs)


def board(world: World, rows: Sequence[RowPredictions]) -> Leaderboard:
    """Their leaderboard; the good row has all facts."""
    epochs = (1.0, 2.0, 3.0)
    history = {
        f"seed 0 fold {fold}": {"epoch": epochs, "val_loss": (1.5, 1.2, 1.1 + fold / 10)}
        for fold in range(3)
    }
    facts = {
        "Plain": RowFacts(
            command="python bench.py run --method plain",
            passport="plain: a passport",
            notes=("seed0/fold2 failed: CUDA out of memory",),
            guards={"lagging average": "it holds 90% of its start"},
            hashes={"row": "abc123"},
            environment={"torch": "2"},
            recipe={"lr": 0.001},
            cost={"epochs": 3.0},
            history=history,
        )
    }
    made = score(world.protocol, world.dataset, world.roles, rows, facts)
    return replace(made, absent={"never": "seed0/fold0 failed: no such model"})
