"""Rows against each other in full: what `compare` says, for all pairs of the rows asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.contrast import Contrast, Pair
from bench.errors import PredictionError, listing
from bench.estimates import NAN, Comparison, IntervalFacts, MetricTable, RowFacts
from bench.manifest import Manifest
from bench.predictions import RowPredictions, Slot
from bench.protocol import Protocol, Roles
from bench.score.arms import ranked_view
from bench.score.beyond import belief, detectable_difference, non_inferiority
from bench.score.bootstrap import Plan, distributions
from bench.score.compare import Contender, compare_rows, difference_table
from bench.score.disagree import Answers, answers, disagreements, disputed
from bench.score.estimate import estimate_row
from bench.score.metrics import IMAGE_METRICS, higher_is_better, refuse_unknown
from bench.score.ranks import mean_ranks, tie_groups
from bench.score.references import KIND
from bench.score.rows import Row, read_row
from bench.score.runs import Cohort, cohort
from bench.score.spread import Parts, parts_of, spread
from bench.score.table import dataset_facts


@dataclass(frozen=True)
class Question:
    """What is asked: the metric, the region of practical equivalence, a margin or none."""

    metric: str
    rope: float = 0.01
    margin: float | None = None


@dataclass(frozen=True)
class _Entry:
    """A compared row with all that its pairs need; value and by_fold (J,) of the metric asked."""

    row: Row
    drawn: np.ndarray
    table: MetricTable
    answers: Answers
    parts: Parts
    value: float
    by_fold: np.ndarray

    @property
    def name(self) -> str:
        """The row's name."""
        return self.row.predictions.name


def find_row(asked: str, rows: Sequence[RowPredictions]) -> str:
    """The name of the row that is asked for, by its name or by its method's where it has one row.

    Raises PredictionError with the known names.
    """
    known = [row.name for row in rows]
    if asked in known:
        return asked
    variants = [row.name for row in rows if row.method == asked]
    if len(variants) == 1:
        return variants[0]
    if variants:
        raise PredictionError(f"{asked!r} has several rows; name one of {listing(variants)}")
    raise PredictionError(f"unknown row {asked!r}; known are {listing(sorted(known))}")


def contrast(
    protocol: Protocol,
    manifest: Manifest,
    roles: Roles,
    rows: Sequence[RowPredictions],
    facts: Mapping[str, RowFacts],
    names: Sequence[str],
    question: Question,
) -> Contrast:
    """Compare the named rows, all pairs of them, on the seeds and folds that all of them have.

    Where the protocol has arms: in its first. p values are adjusted over the pairs of all ranked
    rows and these, so that a pair chosen after a look at the leaderboard has its p value there;
    where these lack trainings, all are tested on the folds that they have in common.

    Raises PredictionError for rows that have no training in common, ProtocolError for an unknown
    metric.
    """
    refuse_unknown((question.metric,), "--metric")
    first_arm = next(iter(protocol.split.arms), "")
    protocol, roles, rows = ranked_view(protocol, manifest, roles, rows)
    who = cohort(protocol, manifest, roles)
    chosen = [_named(name, rows) for name in names]
    common = _common(chosen, protocol)
    place = IMAGE_METRICS.index(question.metric)
    entries = _entries([row.only(common) for row in chosen], protocol, who, question.metric)
    whole_rows = {row.name: read_row(row, protocol, who) for row in rows}
    unranked = {name: _unranked(row, facts) for name, row in whole_rows.items()}
    family = {name: whole_rows[name] for name in names} | {
        name: row for name, row in whole_rows.items() if not unranked[name]
    }
    columns = _columns(common, who)
    others = [row.by_fold[place, columns] for name, row in family.items() if name not in names]
    ratio = NAN if protocol.split.control else who.test_train_ratio
    comparisons = compare_rows(
        [Contender(each.name, each.value, each.drawn[place], each.by_fold) for each in entries],
        question.metric,
        protocol.interval.level,
        ratio,
        others,
    )
    by_name = {entry.name: entry for entry in entries}
    by_fold = np.stack([entry.by_fold for entry in entries])
    ranks = mean_ranks(by_fold, higher=higher_is_better(question.metric))
    ordered = [names[at] for at in np.argsort(ranks, kind="stable")]
    return Contrast(
        protocol=protocol.name,
        protocol_title=protocol.title,
        metric=question.metric,
        rows=tuple(names),
        classes=manifest.classes,
        dataset=dataset_facts(manifest, roles),
        interval=IntervalFacts(
            protocol.interval.level,
            protocol.interval.resamples,
            manifest.unit,
            protocol.interval.method,
        ),
        control=protocol.split.control,
        arm=first_arm,
        trainings=(len(common), len(protocol.run.seeds) * who.columns),
        folds=len({(slot.repeat, slot.fold) for slot in common}),
        family={name: float(row.values[place]) for name, row in family.items()},
        notes=tuple(f"{name} is not ranked: {unranked[name]}" for name in names if unranked[name]),
        tables={entry.name: entry.table for entry in entries},
        pairs=tuple(
            _pair(one, by_name[one.a], by_name[one.b], who, ratio, protocol, question, len(family))
            for one in comparisons
        ),
        spreads={entry.name: spread(entry.parts) for entry in entries},
        mean_ranks=dict(zip(names, map(float, ranks), strict=True)),
        tie_groups=tie_groups(ordered, comparisons),
        tested=(len(entries[0].answers.at), len(np.unique(who.group[entries[0].answers.at]))),
    )


def _entries(
    rows: Sequence[RowPredictions], protocol: Protocol, who: Cohort, metric: str
) -> list[_Entry]:
    place = IMAGE_METRICS.index(metric)
    read = [read_row(row, protocol, who) for row in rows]
    plan = Plan(who.groups, protocol.interval.resamples, protocol.split.seed)
    resampled = distributions([[run.arrangement for run in row.counted] for row in read], plan)
    parts = parts_of(read, metric, who, protocol.split.seed)
    columns = _columns(rows[0].test, who)
    return [
        _Entry(
            row=row,
            drawn=drawn,
            table=estimate_row(row, drawn, who, protocol.interval),
            answers=answers(row, who),
            parts=own,
            value=float(row.values[place]),
            by_fold=row.by_fold[place, columns],
        )
        for row, drawn, own in zip(read, resampled, parts, strict=True)
    ]


def _columns(slots: Iterable[Slot], who: Cohort) -> list[int]:
    """The fold columns of some trainings."""
    return sorted({slot.repeat * who.folds + slot.fold for slot in slots})


def _named(name: str, rows: Sequence[RowPredictions]) -> RowPredictions:
    for row in rows:
        if row.name == name:
            return row
    raise PredictionError(f"row {name} has no predictions in the arm that is ranked")


def _common(rows: Sequence[RowPredictions], protocol: Protocol) -> set[Slot]:
    """The trainings that all rows have: the protocol's seeds where they do.

    Of these whole passes over the folds, else the folds that every pass has: value, interval and
    test are then of the same trainings (`read_row` leaves out what its metrics cannot be made of).
    """
    common = set.intersection(*(set(row.test) for row in rows))
    if not common:
        names = listing([row.name for row in rows])
        raise PredictionError(
            f"{names}: no seed and fold that all of them have; run what is missing"
        )
    asked = {slot for slot in common if slot.seed in protocol.run.seeds} or common
    passes: dict[tuple[int, int], set[Slot]] = {}
    for slot in asked:
        passes.setdefault((slot.seed, slot.repeat), set()).add(slot)
    whole = [slots for slots in passes.values() if len(slots) == protocol.folds]
    if whole:
        return set.union(*whole)
    folds = set.intersection(*({slot.fold for slot in slots} for slots in passes.values()))
    if folds:
        return {slot for slot in asked if slot.fold in folds}
    return max(passes.values(), key=len)


def _unranked(row: Row, facts: Mapping[str, RowFacts]) -> str:
    """Why a row takes no part in the ranking; "" where it does."""
    if row.predictions.kind == KIND:
        return "a reference"
    return row.mark or facts.get(row.predictions.name, RowFacts()).unranked


def _pair(
    one: Comparison,
    a: _Entry,
    b: _Entry,
    who: Cohort,
    ratio: float,
    protocol: Protocol,
    question: Question,
    family: int,
) -> Pair:
    place, level = IMAGE_METRICS.index(question.metric), protocol.interval.level
    apart = a.drawn - b.drawn
    by_fold = a.by_fold - b.by_fold
    differences = difference_table((a.row, b.row), apart, (a.table, b.table), who.classes, level)
    return Pair(
        comparison=one,
        differences=differences,
        detectable=detectable_difference(
            apart[place], by_fold, ratio, level, family * (family - 1) // 2
        ),
        belief=belief(by_fold, ratio, question.rope, higher=higher_is_better(question.metric)),
        non_inferiority=None
        if question.margin is None
        else non_inferiority(one, apart[place], by_fold, ratio, level, question.margin),
        spread=spread(a.parts - b.parts),
        disagreements=disagreements(a.answers, b.answers, differences, who),
        disputed=disputed(a.answers, b.answers, who),
    )
