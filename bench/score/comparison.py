"""Comparison of rows: differences and discordant images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.dataset import Dataset
from bench.errors import PredictionError, listing
from bench.intraclass import design_effect, pair_correlation
from bench.leaderboard import (
    NAN,
    Comparison,
    ComparisonReport,
    DiscordantImage,
    DiscordantPairs,
    Estimate,
    IntervalFacts,
    MetricTable,
    PairComparison,
    RowFacts,
)
from bench.predictions import RowPredictions, TrainingKey
from bench.protocol import Protocol, Roles
from bench.score.arms import ranked_view
from bench.score.bootstrap import Plan, distributions
from bench.score.join import Cohort, cohort
from bench.score.leaderboard import dataset_facts
from bench.score.metrics import IMAGE_METRICS, higher_is_better, refuse_unknown
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row
from bench.score.significance import (
    Contender,
    Parts,
    belief,
    compare_rows,
    detectable_difference,
    difference_table,
    mean_ranks,
    non_inferiority,
    parts_of,
    spread,
    tie_groups,
)


@dataclass(frozen=True)
class Answers:
    """What a row says of every tested image (n,), over all its counted passes.

    at    places in the roster, ascending. right: passes in which the image's class was called
    probs (n, C) mean over the passes. passes: how many there are of each image
    """

    at: np.ndarray
    right: np.ndarray
    probs: np.ndarray
    passes: np.ndarray


def answers(row: Row, who: Cohort) -> Answers:
    """The answers of a row, image by image."""
    images = len(who.labels)
    right, passes = np.zeros(images, dtype=np.int64), np.zeros(images, dtype=np.int64)
    probs = np.zeros((images, len(who.classes)))
    for (_, repeat), scored in zip(row.passes, row.counted, strict=True):
        run = scored.run
        columns = repeat * who.folds + run.present
        at = np.concatenate([who.roles.rows(column, "test") for column in columns])
        right[at] += run.called == run.truth
        probs[at] += run.probs
        passes[at] += 1
    at = np.flatnonzero(passes)
    return Answers(at, right[at], probs[at] / passes[at, None], passes[at])


def sign_flip(differences: np.ndarray) -> float:
    """Exact two-sided p of a sum of whole differences (G,), one a group.

    The chance of a sum as far from 0 if each group's sign were a coin's: what holds if the two rows
    could be exchanged in any group (Fisher 1935's randomisation test). Groups of one image make it
    McNemar's exact test. 1 where no group differs.
    """
    from scipy.signal import convolve
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    law = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        signs = np.zeros(2 * size * count + 1)
        signs[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        law = np.clip(convolve(law, signs), 0, None)
    sums = np.arange(len(law)) - len(law) // 2
    return min(1.0, float(law[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def discordant_pairs(
    a: Answers, b: Answers, differences: MetricTable, who: Cohort
) -> tuple[DiscordantPairs, ...]:
    """A line a class that is tested, by true class, and one for all of them."""
    truth, ahead = who.labels[a.at], a.right - b.right
    group = who.group[a.at]
    lines = [
        _of_class(label, truth == code, ahead, group, differences.per_class[label]["recall"])
        for code, label in enumerate(who.classes)
        if (truth == code).any()
    ]
    every = np.ones(len(truth), dtype=bool)
    return *lines, _of_class("", every, ahead, group, differences.metrics["accuracy"])


def _of_class(
    label: str, own: np.ndarray, ahead: np.ndarray, group: np.ndarray, recall: Estimate
) -> DiscordantPairs:
    from scipy.stats import binomtest

    ahead, member = ahead[own], np.unique(group[own], return_inverse=True)[1]
    only_a, only_b = int((ahead > 0).sum()), int((ahead < 0).sum())
    sums = np.rint(np.bincount(member, ahead)).astype(np.int64)
    sizes = np.bincount(member)
    icc = pair_correlation(ahead.astype(np.float64), member)
    return DiscordantPairs(
        label=label,
        images=int(own.sum()),
        groups=len(sums),
        only_a=only_a,
        only_b=only_b,
        p_images=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        p_groups=sign_flip(sums),
        recall=recall,
        icc=icc,
        design_effect=1.0 if sizes.max() == 1 else design_effect(sizes, icc),
    )


def discordant_images(a: Answers, b: Answers, who: Cohort) -> tuple[DiscordantImage, ...]:
    """The images that one row gets right more often than the other, the widest apart first.

    Wide apart is a large difference in the probability of the image's own class.
    """
    truth = who.labels[a.at]
    own_a, own_b = (each.probs[np.arange(len(truth)), truth] for each in (a, b))
    found = np.flatnonzero(a.right != b.right)
    order = found[np.argsort(-np.abs(own_a - own_b)[found], kind="stable")]
    names = who.classes
    return tuple(
        DiscordantImage(
            image_id=str(who.roles.image_ids[a.at[at]]),
            group_id=str(who.roles.group_ids[a.at[at]]),
            label=names[truth[at]],
            a_called=names[int(a.probs[at].argmax())],
            b_called=names[int(b.probs[at].argmax())],
            a_probability=float(own_a[at]),
            b_probability=float(own_b[at]),
            a_right=int(a.right[at]),
            b_right=int(b.right[at]),
            passes=int(a.passes[at]),
        )
        for at in order
    )


@dataclass(frozen=True)
class ComparisonRequest:
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


def compare_rows_in_full(
    protocol: Protocol,
    manifest: Dataset,
    roles: Roles,
    rows: Sequence[RowPredictions],
    facts: Mapping[str, RowFacts],
    names: Sequence[str],
    question: ComparisonRequest,
) -> ComparisonReport:
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
    return ComparisonReport(
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
    resampled = distributions([[run.sorted_scores for run in row.counted] for row in read], plan)
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


def _columns(slots: Iterable[TrainingKey], who: Cohort) -> list[int]:
    """The fold columns of some trainings."""
    return sorted({slot.repeat * who.folds + slot.fold for slot in slots})


def _named(name: str, rows: Sequence[RowPredictions]) -> RowPredictions:
    for row in rows:
        if row.name == name:
            return row
    raise PredictionError(f"row {name} has no predictions in the arm that is ranked")


def _common(rows: Sequence[RowPredictions], protocol: Protocol) -> set[TrainingKey]:
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
    passes: dict[tuple[int, int], set[TrainingKey]] = {}
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
    question: ComparisonRequest,
    family: int,
) -> PairComparison:
    place, level = IMAGE_METRICS.index(question.metric), protocol.interval.level
    apart = a.drawn - b.drawn
    by_fold = a.by_fold - b.by_fold
    differences = difference_table((a.row, b.row), apart, (a.table, b.table), who.classes, level)
    return PairComparison(
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
        disagreements=discordant_pairs(a.answers, b.answers, differences, who),
        disputed=discordant_images(a.answers, b.answers, who),
    )
