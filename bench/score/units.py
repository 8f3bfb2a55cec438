"""Lesions and patients as units of analysis, beside images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def unit_codes(manifest: Manifest) -> dict[str, np.ndarray]:
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
    (drawn,) = distributions([[each.arrangement for each in counted]], plan)
    values = np.mean([each.values for each in counted], axis=0)
    return replace(row, counted=counted, values=values), drawn
