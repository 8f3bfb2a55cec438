"""Everything of a row's page that needs its predictions, from the same resamples as the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.closeup import Calibration, Closeup, OperatingPoint, RankCurves
from bench.data.threads import map_on_all_cores
from bench.estimates import Estimate, MetricTable
from bench.manifest import Manifest
from bench.predictions import RowPredictions
from bench.protocol import Interval, Protocol, Roles
from bench.score.arms import ranked_view
from bench.score.bootstrap import DrawnOnce
from bench.score.calibration import calibration
from bench.score.calls import call_shares
from bench.score.curves import rank_curves
from bench.score.decision import decision_curve, risk_coverage
from bench.score.estimate import estimate_row
from bench.score.extras import mistakes, partial_auc, top_two
from bench.score.hardest import hardest_lesions
from bench.score.operating import operating_points
from bench.score.references import KIND
from bench.score.rows import Row, read_row
from bench.score.runs import Cohort, Run, cohort
from bench.score.subgroups import attributes, subgroups, unsplit
from bench.score.units import engine, unit_codes, unit_tables
from bench.score.views import temperatures, tempered, two_classes

RESAMPLES = 1000
"""Resamples of everything here, the first of the leaderboard's own."""

MALIGNANT = "malignant"
BENIGN = "benign"


def closeups(
    protocol: Protocol,
    manifest: Manifest,
    roles: Roles,
    rows: Sequence[RowPredictions],
    costs: np.ndarray | None = None,
) -> dict[str, Closeup]:
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
        manifest: Manifest,
        who: Cohort,
        plan: DrawnOnce,
        interval: Interval,
        costs: np.ndarray | None,
    ) -> None:
        self.manifest, self.who, self.plan, self.interval = manifest, who, plan, interval
        self.costs = costs
        self.attributes, self.units = attributes(manifest), unit_codes(manifest)
        self.malignant = [manifest.classes.index(label) for label in manifest.malignant]

    def at(self, row: Row) -> Closeup:
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
        return Closeup(
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
            calls=call_shares(runs, self.plan, self.interval),
            hardest=hardest_lesions(runs, self.manifest, self.who),
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
