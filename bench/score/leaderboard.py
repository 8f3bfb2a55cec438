"""The leaderboard: estimates, ranks and comparisons of all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.dataset import Dataset
from bench.errors import PredictionError, listing
from bench.leaderboard import (
    NAN,
    Comparison,
    DatasetFacts,
    IntervalFacts,
    Leaderboard,
    LeaderboardRow,
    Rank,
    RowFacts,
)
from bench.predictions import RowPredictions
from bench.protocol import Protocol, Roles
from bench.score.arms import arm_report, ranked_view
from bench.score.bootstrap import Plan, distributions
from bench.score.join import Cohort, cohort
from bench.score.metrics import CLASS_METRICS, IMAGE_METRICS, higher_is_better, refuse_unknown
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row
from bench.score.significance import Contender, compare_rows, mean_ranks, rank_rows, tie_groups

BLOCK = 4  # rows resampled side by side: they share the drawing, and bound the memory


@dataclass(frozen=True)
class _Entry:
    """A finished row beside what ranks and comparisons need of it: its primary metric."""

    row: LeaderboardRow
    drawn: np.ndarray
    by_fold: np.ndarray

    @property
    def standing(self) -> int:
        """0 takes part in the ranking, 1 kept out of it, 2 incomplete, 3 a reference."""
        if self.row.kind == KIND:
            return 3
        if not self.row.complete:
            return 2
        return 1 if self.row.facts.unranked else 0


def score(
    protocol: Protocol,
    manifest: Dataset,
    roles: Roles,
    rows: Sequence[RowPredictions],
    facts: Mapping[str, RowFacts],
    *,
    workers: int = 1,
) -> Leaderboard:
    """Join predictions with labels by image id and make the whole leaderboard.

    A row's numbers are the mean over `protocol.run.seeds` and repeats; further seeds are listed in
    its `seeds` and enter `seed_sd` only. Incomplete rows, rows whose facts name a
    reason in `unranked`, references, and every row of a control are shown but not ranked. facts are
    by row name; a row without any has empty ones. Where the protocol has arms, the rows are those
    of its first arm, and `arms` holds what the others differ by. workers are threads, which change
    no number.

    Raises PredictionError naming row and slot where ids or classes differ from the fold's test
    part, RolesError for roles of other images, ProtocolError for an unknown metric.
    """
    refuse_unknown((protocol.metrics.primary, *protocol.metrics.others))
    _refuse_same_names(rows)
    arms = arm_report(protocol, manifest, roles, rows)
    protocol, roles, rows = ranked_view(protocol, manifest, roles, rows)
    who = cohort(protocol, manifest, roles)
    plan = Plan(who.groups, protocol.interval.resamples, protocol.split.seed, workers=workers)
    entries: list[_Entry] = []
    for first in range(0, len(rows), BLOCK):
        block = [read_row(row, protocol, who) for row in rows[first : first + BLOCK]]
        resampled = distributions(
            [[scored.sorted_scores for scored in row.counted] for row in block], plan
        )
        for row, drawn in zip(block, resampled, strict=True):
            known = facts.get(row.predictions.name, RowFacts())
            entries.append(_entry(row, drawn, protocol, who, known))
    return replace(_leaderboard(entries, protocol, manifest, roles, who), arms=arms)


def _leaderboard(
    entries: Sequence[_Entry], protocol: Protocol, manifest: Dataset, roles: Roles, who: Cohort
) -> Leaderboard:
    primary = protocol.metrics.primary
    entries = _ordered(_ranked(entries, protocol), primary)
    best = _best_reference(entries, primary)
    comparisons = _comparisons(entries, protocol, who)
    ranked = [entry.row.name for entry in entries if entry.row.rank.best is not None]
    return Leaderboard(
        protocol=protocol.name,
        protocol_title=protocol.title,
        primary=primary,
        metrics=_shown_metrics(protocol),
        class_metrics=CLASS_METRICS,
        classes=manifest.classes,
        dataset=dataset_facts(manifest, roles),
        interval=IntervalFacts(
            level=protocol.interval.level,
            resamples=protocol.interval.resamples,
            unit=manifest.unit,
            method=protocol.interval.method,
        ),
        folds=who.folds,
        repeats=who.repeats,
        rows=tuple(_cleared(entry.row, best, primary) for entry in entries),
        comparisons=comparisons,
        best_reference=best.name if best else "",
        control=protocol.split.control,
        tested=(int((who.group >= 0).sum()), who.groups),
        tie_groups=tie_groups(ranked, comparisons),
        mean_ranks=_mean_ranks(entries, primary),
    )


def _mean_ranks(entries: Sequence[_Entry], primary: str) -> dict[str, float]:
    """The mean rank of every ranked row over the folds that all of them have."""
    ranked = [entry for entry in entries if entry.row.rank.best is not None]
    if not ranked:
        return {}
    by_fold = np.stack([entry.by_fold for entry in ranked])
    found = mean_ranks(by_fold, higher=higher_is_better(primary))
    names = [entry.row.name for entry in ranked]
    return dict(zip(names, map(float, found), strict=True)) if np.isfinite(found).all() else {}


def _tested(row: Row) -> tuple[int, int]:
    """Images and groups that a row's numbers are of."""
    runs = [each.run for each in row.counted]
    places, groups = (
        np.bincount(np.concatenate([getattr(run, key) for run in runs]))
        for key in ("place", "group")
    )
    return int(np.count_nonzero(places)), int(np.count_nonzero(groups))


def _refuse_same_names(rows: Sequence[RowPredictions]) -> None:
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PredictionError(f"rows of the same name: {listing(twice)}; give each its own name")


def _entry(row: Row, drawn: np.ndarray, protocol: Protocol, who: Cohort, facts: RowFacts) -> _Entry:
    place = IMAGE_METRICS.index(protocol.metrics.primary)
    predictions = row.predictions
    by_fold = {name: tuple(map(float, row.by_fold[at])) for at, name in enumerate(IMAGE_METRICS)}
    made = LeaderboardRow(
        name=predictions.name,
        method=predictions.method,
        kind=predictions.kind,
        seeds=predictions.seeds,
        folds=predictions.folds,
        complete=row.complete,
        rank=Rank(),
        table=estimate_row(row, drawn, who, protocol.interval),
        confusion=row.confusion,
        by_fold=by_fold,
        seed_sd={name: float(row.seed_sd[at]) for at, name in enumerate(IMAGE_METRICS)},
        clears_reference=False,
        facts=facts,
        tested=_tested(row),
        missing=predictions.missing(protocol.run.seeds, who.repeats, range(who.folds)),
    )
    return _Entry(made, drawn[place].copy(), row.by_fold[place])


def _ranked(entries: Sequence[_Entry], protocol: Protocol) -> list[_Entry]:
    primary = protocol.metrics.primary
    taking_part = [entry for entry in entries if entry.standing == 0]
    if protocol.split.control or not taking_part:
        return list(entries)
    ranks = rank_rows(
        [entry.row.table.metrics[primary].value for entry in taking_part],
        np.stack([entry.drawn for entry in taking_part]),
        protocol.interval.level,
        higher=higher_is_better(primary),
    )
    named = {entry.row.name: rank for entry, rank in zip(taking_part, ranks, strict=True)}
    return [
        replace(entry, row=replace(entry.row, rank=named.get(entry.row.name, Rank())))
        for entry in entries
    ]


def _ordered(entries: Sequence[_Entry], primary: str) -> list[_Entry]:
    """By standing, then by the primary metric, best first and undefined last, then by name."""

    def key(entry: _Entry) -> tuple[int, bool, float, str]:
        value = entry.row.table.metrics[primary].value
        undefined = not np.isfinite(value)
        loss = 0.0 if undefined else -value if higher_is_better(primary) else value
        return entry.standing, undefined, loss, entry.row.name

    return sorted(entries, key=key)


def _best_reference(entries: Sequence[_Entry], primary: str) -> LeaderboardRow | None:
    """The complete reference row of the best primary value; entries in the order of the table."""
    for entry in entries:
        defined = np.isfinite(entry.row.table.metrics[primary].value)
        if entry.row.kind == KIND and entry.row.complete and defined:
            return entry.row
    return None


def _cleared(row: LeaderboardRow, best: LeaderboardRow | None, primary: str) -> LeaderboardRow:
    """The row with its word on whether its primary interval lies beyond the best reference."""
    if best is None or row.kind == KIND:
        return row
    bar, own = best.table.metrics[primary].value, row.table.metrics[primary]
    cleared = own.low > bar if higher_is_better(primary) else own.high < bar
    return replace(row, clears_reference=bool(cleared))


def _comparisons(
    entries: Sequence[_Entry], protocol: Protocol, who: Cohort
) -> tuple[Comparison, ...]:
    primary = protocol.metrics.primary
    contenders = [
        Contender(
            entry.row.name, entry.row.table.metrics[primary].value, entry.drawn, entry.by_fold
        )
        for entry in entries
        if entry.standing == 0 and np.isfinite(entry.row.table.metrics[primary].value)
    ]
    ratio = NAN if protocol.split.control else who.test_train_ratio
    return compare_rows(contenders, primary, protocol.interval.level, ratio)


def _shown_metrics(protocol: Protocol) -> tuple[str, ...]:
    """Primary first, then the protocol's others; all of them where it names none."""
    first = (protocol.metrics.primary, *protocol.metrics.others)
    return tuple(dict.fromkeys(first if protocol.metrics.others else (*first, *IMAGE_METRICS)))


def dataset_facts(manifest: Dataset, roles: Roles) -> DatasetFacts:
    """The data that the numbers come from."""

    def groups(chosen: np.ndarray) -> int:
        return len(set(roles.group_ids[chosen].tolist()))

    by_class = {name: manifest.labels == code for code, name in enumerate(manifest.classes)}
    return DatasetFacts(
        name=manifest.name,
        title=manifest.title,
        roster_sha256=manifest.roster_sha256,
        images=len(manifest),
        groups=groups(np.ones(len(manifest), dtype=bool)),
        synthetic=manifest.synthetic,
        unit=manifest.unit,
        ungrouped=manifest.ungrouped,
        licence=manifest.licence,
        citation=manifest.citation,
        images_by_class={name: int(own.sum()) for name, own in by_class.items()},
        groups_by_class={name: groups(own) for name, own in by_class.items()},
    )
