"""The leaderboard: estimates, ranks and comparisons of all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.dataset import Dataset
from bench.errors import PredictionError, listing
from bench.leaderboard import (
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
from bench.score.significance import mean_ranks, rank_rows, tie_groups
from bench.score.verdicts import (
    Contender,
    compare_rows,
    contender,
    distinct_models,
    refuse_both,
    sign_of_difference,
)

BLOCK = 4  # rows resampled together: they share the draws; bounds the memory


@dataclass(frozen=True)
class _Entry:
    """A finished row, and its values of the primary metric for comparisons."""

    row: LeaderboardRow
    contender: Contender

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
    baseline: str = "",
    all_pairs: bool = False,
    workers: int = 1,
) -> Leaderboard:
    """Join predictions with labels by image id and compute the leaderboard.

    The numbers of a row are the mean over `protocol.run.seeds` and repeats; further seeds are
    listed in `seeds` and enter `seed_sd` only. Incomplete rows, rows with a reason in
    `facts.unranked`, reference rows, and all rows of a control protocol are shown but not ranked.
    Ranked rows are compared with `baseline` (default: the leader), or all with all if `all_pairs`.
    facts are by row name and may be missing. If the protocol has arms, the rows are those of its
    first arm, and `arms` holds the differences to the others. workers are threads; they change no
    number.

    Raises PredictionError naming row and training where ids or classes differ from the test part of
    the fold or where the baseline is not ranked, RolesError for roles of other images,
    ProtocolError for an unknown metric.
    """
    refuse_unknown((protocol.metrics.primary, *protocol.metrics.others))
    refuse_both(baseline, all_pairs)
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
    board = _leaderboard(entries, protocol, dataset, roles, cohort)
    compared = _compared(entries, board, protocol, cohort, baseline, all_pairs)
    return replace(compared, arms=arms)


def _leaderboard(
    entries: Sequence[_Entry], protocol: Protocol, dataset: Dataset, roles: Roles, cohort: Cohort
) -> Leaderboard:
    primary = protocol.metrics.primary
    entries = _ordered(_ranked(entries, protocol), primary)
    best = _best_reference(entries, primary)
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
        rows=tuple(_cleared(entry, best, protocol, cohort) for entry in entries),
        comparisons=(),
        best_reference=best.row.name if best else "",
        control=protocol.split.control,
        tested=(int((cohort.group >= 0).sum()), cohort.groups),
        mean_ranks=_mean_ranks(entries, primary),
    )


def _mean_ranks(entries: Sequence[_Entry], primary: str) -> dict[str, float]:
    """Mean rank of every ranked row over the folds that all of them have."""
    ranked = [entry for entry in entries if entry.row.rank.best is not None]
    if not ranked:
        return {}
    by_fold = np.stack([entry.contender.by_fold for entry in ranked])
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
    own = contender(
        row,
        place,
        replicates[place].copy(),
        cohort,
        control=protocol.split.control,
        models=facts.models,
    )
    return _Entry(row_entry, own)


def _ranked(entries: Sequence[_Entry], protocol: Protocol) -> list[_Entry]:
    primary = protocol.metrics.primary
    taking_part = [entry for entry in entries if entry.tier == 0]
    if protocol.split.control or not taking_part:
        return list(entries)
    ranks = rank_rows(
        [entry.row.table.metrics[primary].value for entry in taking_part],
        np.stack([entry.contender.replicates for entry in taking_part]),
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


def _best_reference(entries: Sequence[_Entry], primary: str) -> _Entry | None:
    """The complete reference row with the best primary value; entries are in table order."""
    for entry in entries:
        defined = np.isfinite(entry.row.table.metrics[primary].value)
        if entry.row.kind == KIND and entry.row.complete and defined:
            return entry
    return None


def _cleared(
    entry: _Entry, best: _Entry | None, protocol: Protocol, cohort: Cohort
) -> LeaderboardRow:
    """Set whether the models of the row are better than the best reference row.

    By the paired interval of the difference in the primary metric; a perfect row has one too.
    """
    if best is None or entry.row.kind == KIND:
        return entry.row
    difference = entry.contender.replicates - best.contender.replicates
    sign = sign_of_difference(difference, protocol.interval.level, cohort.groups)
    wanted = 1 if higher_is_better(protocol.metrics.primary) else -1
    return replace(entry.row, clears_reference=sign == wanted)


def _compared(
    entries: Sequence[_Entry],
    board: Leaderboard,
    protocol: Protocol,
    cohort: Cohort,
    baseline: str,
    all_pairs: bool,  # noqa: FBT001
) -> Leaderboard:
    """The leaderboard with its comparisons and tie groups."""
    by_name = {entry.row.name: entry for entry in entries}
    contenders = [
        by_name[row.name].contender
        for row in board.rows
        if by_name[row.name].tier == 0 and np.isfinite(by_name[row.name].contender.value)
    ]
    names = [each.name for each in contenders]
    if baseline and baseline not in names:
        raise PredictionError(
            f"--baseline {baseline}: is not a ranked row; ranked are {listing(names) or 'none'}"
        )
    if not all_pairs:
        baseline = baseline or next(iter(names), "")
    level, primary = protocol.interval.level, protocol.metrics.primary
    ranked = [row.name for row in board.rows if row.rank.best is not None]
    return replace(
        board,
        baseline=baseline if len(names) > 1 else "",
        comparisons=compare_rows(contenders, primary, level, cohort.groups, baseline),
        tie_groups=tie_groups(ranked, distinct_models(contenders, level, cohort.groups)),
    )


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
        units=len(set(dataset.native_groups.tolist())),
        units_by_class={
            name: len(set(dataset.native_groups[own].tolist())) for name, own in by_class.items()
        },
    )
