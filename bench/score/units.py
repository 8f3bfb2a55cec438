"""Lesions and patients as units of analysis, beside images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.closeup import UnitTable
from bench.manifest import Manifest
from bench.protocol import Interval
from bench.score.bootstrap import Plan, distributions
from bench.score.estimate import estimate_row
from bench.score.rows import Row, score_run
from bench.score.runs import Cohort, Run
from bench.score.views import averaged

UNITS = ("lesion", "patient")


def unit_tables(
    row: Row, manifest: Manifest, who: Cohort, plan: Plan, interval: Interval
) -> tuple[UnitTable, ...]:
    """All metrics with lesions and with patients as units, for those that the data names."""
    found = []
    for unit in UNITS:
        names = manifest.table[f"{unit}_id"]
        if names.notna().any():
            codes = np.unique(names.where(names.notna(), manifest.image_ids), return_inverse=True)
            runs = [averaged(each.run, codes[1]) for each in row.counted]
            found.append(_unit_table(unit, codes[1], row, runs, who, plan, interval))
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
    (drawn,) = distributions([[each.arrangement for each in counted]], plan)
    values = np.mean([each.values for each in counted], axis=0)
    return replace(row, counted=counted, values=values), drawn
