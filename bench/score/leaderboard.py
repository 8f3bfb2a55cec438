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
from bench.score.join import Cohort, build_cohort
from bench.score.metrics import CLASS_METRICS, IMAGE_METRICS, higher_is_better, refuse_unknown
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row
from bench.score.significance import Contender, compare_rows, mean_ranks, rank_rows, tie_groups

BLOCK = 4  # rows resampled together: they share the draws; bounds the memory


@dataclass(frozen=True)
class _Entry:
    """A finished row with the replicates and fold values of the primary metric."""

    row: LeaderboardRow
    replicates: np.ndarray
    by_fold: np.ndarray

    @property
    def tier(self) -> int:
        """Ranking tier: 0 ranked, 1 excluded from ranking, 2 incomplete, 3 reference row."""
        if self.row.kind == KIND:
            return 3
        if not self.row.complete:
            return 2
        return 1 if self.row.facts.unranked else 0


def score(
    protocol: Protocol,
    dataset: Dataset,
    roles: Roles,
    rows: Sequence[RowPredictions],
    facts: Mapping[str, RowFacts],
    *,
    workers: int = 1,
) -> Leaderboard:
    """Join predictions with labels by image id and compute the leaderboard.

    The numbers of a row are the mean over `protocol.run.seeds` and repeats; further seeds are
    listed in `seeds` and enter `seed_sd` only. Incomplete rows, rows with a reason in
    `facts.unranked`, reference rows, and all rows of a control protocol are shown but not ranked.
    facts are by row name and may be missing. If the protocol has arms, the rows are those of its
    first arm, and `arms` holds the differences to the others. workers are threads; they change no
    number.

    Raises PredictionError naming row and training where ids or classes differ from the test part of
    the fold, RolesError for roles of other images, ProtocolError for an unknown metric.
    """
    refuse_unknown((protocol.metrics.primary, *protocol.metrics.others))
    _refuse_same_names(rows)
    arms = arm_report(protocol, dataset, roles, rows)
    protocol, roles, rows = ranked_view(protocol, dataset, roles, rows)
    cohort = build_cohort(protocol, dataset, roles)
    plan = Plan(cohort.groups, protocol.interval.resamples, protocol.split.seed, workers=workers)
    entries: list[_Entry] = []
    for first in range(0, len(rows), BLOCK):
        block = [read_row(row, protocol, cohort) for row in rows[first : first + BLOCK]]
        resampled = distributions(
            [[scored.sorted_scores for scored in row.counted] for row in block], plan
        )
        for row, replicates in zip(block, resampled, strict=True):
            known = facts.get(row.predictions.name, RowFacts())
            entries.append(_entry(row, replicates, protocol, cohort, known))
    return replace(_leaderboard(entries, protocol, dataset, roles, cohort), arms=arms)


def _leaderboard(
    entries: Sequence[_Entry], protocol: Protocol, dataset: Dataset, roles: Roles, cohort: Cohort
) -> Leaderboard:
    primary = protocol.metrics.primary
    entries = _ordered(_ranked(entries, protocol), primary)
    best = _best_reference(entries, primary)
    comparisons = _comparisons(entries, protocol, cohort)
    ranked = [entry.row.name for entry in entries if entry.row.rank.best is not None]
    return Leaderboard(
        protocol=protocol.name,
        protocol_title=protocol.title,
        primary=primary,
        metrics=_shown_metrics(protocol),
        class_metrics=CLASS_METRICS,
        classes=dataset.classes,
        dataset=dataset_facts(dataset, roles),
        interval=IntervalFacts(
            level=protocol.interval.level,
            resamples=protocol.interval.resamples,
            unit=dataset.unit,
            method=protocol.interval.method,
        ),
        folds=cohort.folds,
        repeats=cohort.repeats,
        rows=tuple(_cleared(entry.row, best, primary) for entry in entries),
        comparisons=comparisons,
        best_reference=best.name if best else "",
        control=protocol.split.control,
        tested=(int((cohort.group >= 0).sum()), cohort.groups),
        tie_groups=tie_groups(ranked, comparisons),
        mean_ranks=_mean_ranks(entries, primary),
    )


def _mean_ranks(entries: Sequence[_Entry], primary: str) -> dict[str, float]:
    """Mean rank of every ranked row over the folds that all of them have."""
    ranked = [entry for entry in entries if entry.row.rank.best is not None]
    if not ranked:
        return {}
    by_fold = np.stack([entry.by_fold for entry in ranked])
    ranks = mean_ranks(by_fold, higher=higher_is_better(primary))
    names = [entry.row.name for entry in ranked]
    return dict(zip(names, map(float, ranks), strict=True)) if np.isfinite(ranks).all() else {}


def _tested(row: Row) -> tuple[int, int]:
    """Number of tested images and groups of a row."""
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
        raise PredictionError(
            f"rows with the same name: {listing(twice)}; give each row a different name"
        )


def _entry(
    row: Row, replicates: np.ndarray, protocol: Protocol, cohort: Cohort, facts: RowFacts
) -> _Entry:
    place = IMAGE_METRICS.index(protocol.metrics.primary)
    predictions = row.predictions
    by_fold = {name: tuple(map(float, row.by_fold[at])) for at, name in enumerate(IMAGE_METRICS)}
    row_entry = LeaderboardRow(
        name=predictions.name,
        method=predictions.method,
        kind=predictions.kind,
        seeds=predictions.seeds,
        folds=predictions.folds,
        complete=row.complete,
        rank=Rank(),
        table=estimate_row(row, replicates, cohort, protocol.interval),
        confusion=row.confusion,
        by_fold=by_fold,
        seed_sd={name: float(row.seed_sd[at]) for at, name in enumerate(IMAGE_METRICS)},
        clears_reference=False,
        facts=facts,
        tested=_tested(row),
        missing=predictions.missing(protocol.run.seeds, cohort.repeats, range(cohort.folds)),
    )
    return _Entry(row_entry, replicates[place].copy(), row.by_fold[place])


def _ranked(entries: Sequence[_Entry], protocol: Protocol) -> list[_Entry]:
    primary = protocol.metrics.primary
    taking_part = [entry for entry in entries if entry.tier == 0]
    if protocol.split.control or not taking_part:
        return list(entries)
    ranks = rank_rows(
        [entry.row.table.metrics[primary].value for entry in taking_part],
        np.stack([entry.replicates for entry in taking_part]),
        protocol.interval.level,
        higher=higher_is_better(primary),
    )
    named = {entry.row.name: rank for entry, rank in zip(taking_part, ranks, strict=True)}
    return [
        replace(entry, row=replace(entry.row, rank=named.get(entry.row.name, Rank())))
        for entry in entries
    ]


def _ordered(entries: Sequence[_Entry], primary: str) -> list[_Entry]:
    """Sort by tier, then by the primary metric (best first, undefined last), then by name."""

    def key(entry: _Entry) -> tuple[int, bool, float, str]:
        value = entry.row.table.metrics[primary].value
        undefined = not np.isfinite(value)
        loss = 0.0 if undefined else -value if higher_is_better(primary) else value
        return entry.tier, undefined, loss, entry.row.name

    return sorted(entries, key=key)


def _best_reference(entries: Sequence[_Entry], primary: str) -> LeaderboardRow | None:
    """The complete reference row with the best primary value; entries are in table order."""
    for entry in entries:
        defined = np.isfinite(entry.row.table.metrics[primary].value)
        if entry.row.kind == KIND and entry.row.complete and defined:
            return entry.row
    return None


def _cleared(row: LeaderboardRow, best: LeaderboardRow | None, primary: str) -> LeaderboardRow:
    """Set whether the primary interval of the row excludes the best reference row."""
    if best is None or row.kind == KIND:
        return row
    bar, own = best.table.metrics[primary].value, row.table.metrics[primary]
    cleared = own.low > bar if higher_is_better(primary) else own.high < bar
    return replace(row, clears_reference=bool(cleared))


def _comparisons(
    entries: Sequence[_Entry], protocol: Protocol, cohort: Cohort
) -> tuple[Comparison, ...]:
    primary = protocol.metrics.primary
    contenders = [
        Contender(
            entry.row.name, entry.row.table.metrics[primary].value, entry.replicates, entry.by_fold
        )
        for entry in entries
        if entry.tier == 0 and np.isfinite(entry.row.table.metrics[primary].value)
    ]
    ratio = NAN if protocol.split.control else cohort.test_train_ratio
    return compare_rows(contenders, primary, protocol.interval.level, ratio)


def _shown_metrics(protocol: Protocol) -> tuple[str, ...]:
    """Primary metric first, then the others of the protocol; all metrics if it names none."""
    first = (protocol.metrics.primary, *protocol.metrics.others)
    return tuple(dict.fromkeys(first if protocol.metrics.others else (*first, *IMAGE_METRICS)))


def dataset_facts(dataset: Dataset, roles: Roles) -> DatasetFacts:
    """Facts about the dataset behind the numbers."""

    def groups(chosen: np.ndarray) -> int:
        return len(set(roles.group_ids[chosen].tolist()))

    by_class = {name: dataset.labels == code for code, name in enumerate(dataset.classes)}
    return DatasetFacts(
        name=dataset.name,
        title=dataset.title,
        roster_sha256=dataset.roster_sha256,
        images=len(dataset),
        groups=groups(np.ones(len(dataset), dtype=bool)),
        synthetic=dataset.synthetic,
        unit=dataset.unit,
        ungrouped=dataset.ungrouped,
        licence=dataset.licence,
        citation=dataset.citation,
        images_by_class={name: int(own.sum()) for name, own in by_class.items()},
        groups_by_class={name: groups(own) for name, own in by_class.items()},
    )
