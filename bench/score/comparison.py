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
from bench.score.join import Cohort, build_cohort
from bench.score.leaderboard import dataset_facts
from bench.score.metrics import IMAGE_METRICS, higher_is_better, refuse_unknown
from bench.score.reference_rows import KIND
from bench.score.row import Row, estimate_row, read_row
from bench.score.significance import (
    SeedFoldValues,
    belief,
    mean_ranks,
    nadeau_bengio,
    seed_fold_values,
    spread,
    tie_groups,
)
from bench.score.verdicts import (
    Contender,
    compare_rows,
    contender,
    detectable_difference,
    difference_table,
    distinct_models,
    non_inferiority,
    refuse_both,
)


@dataclass(frozen=True)
class ImagePredictions:
    """Predictions of a row for every tested image (n,), over all counted (seed, repeat).

    at      places in the image list, ascending
    right   in how many (seed, repeat) the true class was predicted
    probs   (n, C) mean over (seed, repeat)
    passes  how many (seed, repeat) predict the image
    """

    at: np.ndarray
    right: np.ndarray
    probs: np.ndarray
    passes: np.ndarray


def image_predictions(row: Row, cohort: Cohort) -> ImagePredictions:
    """Collect the predictions of a row by image."""
    images = len(cohort.labels)
    right, passes = np.zeros(images, dtype=np.int64), np.zeros(images, dtype=np.int64)
    probs = np.zeros((images, len(cohort.classes)))
    for (_, repeat), scored in zip(row.passes, row.counted, strict=True):
        run = scored.run
        columns = repeat * cohort.folds + run.present
        at = np.concatenate([cohort.roles.rows(column, "test") for column in columns])
        right[at] += run.predicted == run.truth
        probs[at] += run.probs
        passes[at] += 1
    at = np.flatnonzero(passes)
    return ImagePredictions(at, right[at], probs[at] / passes[at, None], passes[at])


def sign_flip(differences: np.ndarray) -> float:
    """Exact two-sided p of the sign-flip test on integer differences (G,), one a group.

    Under the null the two rows are exchangeable within each group, so each sign is + or - with
    probability 1/2 (randomisation test, Fisher 1935). With one image a group it is the exact
    McNemar test. 1 where no group differs.
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
    a: ImagePredictions, b: ImagePredictions, differences: MetricTable, cohort: Cohort
) -> tuple[DiscordantPairs, ...]:
    """Discordant pairs by true class (classes with test images), then over all classes."""
    truth, ahead = cohort.labels[a.at], a.right - b.right
    group = cohort.group[a.at]
    lines = [
        _of_class(label, truth == code, ahead, group, differences.per_class[label]["recall"])
        for code, label in enumerate(cohort.classes)
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


def discordant_images(
    a: ImagePredictions, b: ImagePredictions, cohort: Cohort
) -> tuple[DiscordantImage, ...]:
    """Images that one row predicts correctly more often than the other.

    Sorted by the difference of the probability of the true class, largest first.
    """
    truth = cohort.labels[a.at]
    own_a, own_b = (each.probs[np.arange(len(truth)), truth] for each in (a, b))
    discordant = np.flatnonzero(a.right != b.right)
    order = discordant[np.argsort(-np.abs(own_a - own_b)[discordant], kind="stable")]
    names = cohort.classes
    return tuple(
        DiscordantImage(
            image_id=str(cohort.roles.image_ids[a.at[at]]),
            group_id=str(cohort.roles.group_ids[a.at[at]]),
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
    """What to compare by.

    rope       region of practical equivalence of the Bayesian test
    margin     of non-inferiority, or None
    baseline   row that the others are compared with; default: the best of the named rows
    all_pairs  compare all pairs instead
    """

    metric: str
    rope: float = 0.01
    margin: float | None = None
    baseline: str = ""
    all_pairs: bool = False


@dataclass(frozen=True)
class _Entry:
    """A compared row; contender holds its values of the requested metric."""

    row: Row
    replicates: np.ndarray
    table: MetricTable
    image_predictions: ImagePredictions
    parts: SeedFoldValues
    contender: Contender

    @property
    def name(self) -> str:
        """The row's name."""
        return self.row.predictions.name


def find_row(name: str, rows: Sequence[RowPredictions]) -> str:
    """The name of a row, given its name, or its method if the method has one row.

    Raises PredictionError with the known names.
    """
    known = [row.name for row in rows]
    if name in known:
        return name
    variants = [row.name for row in rows if row.method == name]
    if len(variants) == 1:
        return variants[0]
    if variants:
        raise PredictionError(f"{name!r} has several rows; name one of {listing(variants)}")
    raise PredictionError(f"unknown row {name!r}; known are {listing(sorted(known))}")


def compare_rows_in_full(
    protocol: Protocol,
    dataset: Dataset,
    roles: Roles,
    rows: Sequence[RowPredictions],
    facts: Mapping[str, RowFacts],
    names: Sequence[str],
    request: ComparisonRequest,
) -> ComparisonReport:
    """Compare the named rows on the seeds and folds that all of them have.

    A protocol with arms is compared in its first arm. Two rows are one test. Of more, each is
    compared with the baseline, and p is adjusted over these comparisons; over all pairs if these
    are requested.

    Raises PredictionError for rows without a common training or a baseline that is not named,
    ProtocolError for an unknown metric.
    """
    refuse_unknown((request.metric,), "--metric")
    first_arm = next(iter(protocol.split.arms), "")
    protocol, roles, rows = ranked_view(protocol, dataset, roles, rows)
    cohort = build_cohort(protocol, dataset, roles)
    chosen = [_named(name, rows) for name in names]
    common = _common(chosen, protocol)
    place = IMAGE_METRICS.index(request.metric)
    whole_rows = {row.name: read_row(row, protocol, cohort) for row in chosen}
    unranked = {name: _unranked(row, facts) for name, row in whole_rows.items()}
    entries = _entries([row.only(common) for row in chosen], protocol, cohort, request, facts)
    contenders, level = [entry.contender for entry in entries], protocol.interval.level
    baseline = _baseline(contenders, request)
    comparisons = compare_rows(contenders, request.metric, level, cohort.groups, baseline)
    tests = sum(comparison.methods != "not tested" for comparison in comparisons)
    by_name = {entry.name: entry for entry in entries}
    by_fold = np.stack([each.by_fold for each in contenders])
    ranks = mean_ranks(by_fold, higher=higher_is_better(request.metric))
    ordered = [names[at] for at in np.argsort(ranks, kind="stable")]
    return ComparisonReport(
        protocol=protocol.name,
        protocol_title=protocol.title,
        metric=request.metric,
        rows=tuple(names),
        classes=dataset.classes,
        dataset=dataset_facts(dataset, roles),
        interval=IntervalFacts(
            protocol.interval.level,
            protocol.interval.resamples,
            dataset.unit,
            protocol.interval.method,
        ),
        control=protocol.split.control,
        arm=first_arm,
        trainings=(len(common), len(protocol.run.seeds) * cohort.columns),
        folds=len({(training.repeat, training.fold) for training in common}),
        family={name: float(row.values[place]) for name, row in whole_rows.items()},
        baseline=baseline,
        notes=tuple(f"{name} is not ranked: {unranked[name]}" for name in names if unranked[name]),
        tables={entry.name: entry.table for entry in entries},
        pairs=tuple(
            _pair(
                comparison,
                by_name[comparison.a],
                by_name[comparison.b],
                cohort,
                protocol,
                request,
                max(1, tests),
            )
            for comparison in comparisons
        ),
        spreads={entry.name: spread(entry.parts) for entry in entries},
        mean_ranks=dict(zip(names, map(float, ranks), strict=True)),
        tie_groups=tie_groups(ordered, distinct_models(contenders, level, cohort.groups)),
        tested=(
            len(entries[0].image_predictions.at),
            len(np.unique(cohort.group[entries[0].image_predictions.at])),
        ),
    )


def _baseline(contenders: Sequence[Contender], request: ComparisonRequest) -> str:
    """The row to compare with: as requested, else the best one; "" for all pairs."""
    names = [each.name for each in contenders]
    refuse_both(request.baseline, request.all_pairs)
    if request.all_pairs:
        return ""
    if not request.baseline:
        sign = 1 if higher_is_better(request.metric) else -1
        values = np.nan_to_num([sign * each.value for each in contenders], nan=-np.inf)
        return names[int(np.argmax(values))]
    if request.baseline not in names:
        raise PredictionError(
            f"--baseline {request.baseline}: is none of the compared rows; they are "
            f"{listing(names)}"
        )
    return request.baseline


def _entries(
    rows: Sequence[RowPredictions],
    protocol: Protocol,
    cohort: Cohort,
    request: ComparisonRequest,
    facts: Mapping[str, RowFacts],
) -> list[_Entry]:
    place = IMAGE_METRICS.index(request.metric)
    read = [read_row(row, protocol, cohort) for row in rows]
    plan = Plan(cohort.groups, protocol.interval.resamples, protocol.split.seed)
    resampled = distributions([[run.sorted_scores for run in row.counted] for row in read], plan)
    parts = seed_fold_values(read, request.metric, cohort, protocol.split.seed)
    columns = _columns(rows[0].test, cohort)
    return [
        _Entry(
            row=row,
            replicates=replicates,
            table=estimate_row(row, replicates, cohort, protocol.interval),
            image_predictions=image_predictions(row, cohort),
            parts=own,
            contender=contender(
                row,
                place,
                replicates[place],
                cohort,
                control=protocol.split.control,
                models=facts.get(row.predictions.name, RowFacts()).models,
                columns=columns,
            ),
        )
        for row, replicates, own in zip(read, resampled, parts, strict=True)
    ]


def _columns(trainings: Iterable[TrainingKey], cohort: Cohort) -> list[int]:
    """The fold columns of these trainings."""
    return sorted({training.repeat * cohort.folds + training.fold for training in trainings})


def _named(name: str, rows: Sequence[RowPredictions]) -> RowPredictions:
    for row in rows:
        if row.name == name:
            return row
    raise PredictionError(f"row {name} has no predictions in the ranked arm")


def _common(rows: Sequence[RowPredictions], protocol: Protocol) -> set[TrainingKey]:
    """The trainings that all rows have, of the seeds of the protocol where possible.

    Complete (seed, repeat) first, otherwise the folds that every (seed, repeat) has; so value,
    interval and test use the same trainings (`read_row` drops incomplete ones).
    """
    common = set.intersection(*(set(row.test) for row in rows))
    if not common:
        names = listing([row.name for row in rows])
        raise PredictionError(f"{names}: no seed and fold in common; run the missing trainings")
    selected = {training for training in common if training.seed in protocol.run.seeds} or common
    passes: dict[tuple[int, int], set[TrainingKey]] = {}
    for training in selected:
        passes.setdefault((training.seed, training.repeat), set()).add(training)
    whole = [trainings for trainings in passes.values() if len(trainings) == protocol.folds]
    if whole:
        return set.union(*whole)
    folds = set.intersection(
        *({training.fold for training in trainings} for trainings in passes.values())
    )
    if folds:
        return {training for training in selected if training.fold in folds}
    return max(passes.values(), key=len)


def _unranked(row: Row, facts: Mapping[str, RowFacts]) -> str:
    """Why a row is not ranked; "" for a ranked row."""
    if row.predictions.kind == KIND:
        return "a reference"
    return row.mark or facts.get(row.predictions.name, RowFacts()).unranked


def _pair(
    comparison: Comparison,
    a: _Entry,
    b: _Entry,
    cohort: Cohort,
    protocol: Protocol,
    request: ComparisonRequest,
    tests: int,
) -> PairComparison:
    level = protocol.interval.level
    replicates = a.replicates - b.replicates
    by_fold = a.contender.by_fold - b.contender.by_fold
    separate = all(
        each.row.predictions.kind == KIND or not each.contender.untested for each in (a, b)
    )
    ratio = cohort.test_train_ratio if separate and not protocol.split.control else NAN
    differences = difference_table(
        (a.row, b.row), replicates, (a.table, b.table), cohort.classes, level
    )
    return PairComparison(
        comparison=comparison,
        differences=differences,
        detectable=detectable_difference(a.contender, b.contender, level, tests),
        nadeau_bengio=nadeau_bengio(by_fold, ratio),
        belief=belief(by_fold, ratio, request.rope, higher=higher_is_better(request.metric)),
        non_inferiority=None
        if request.margin is None
        else non_inferiority(comparison, a.contender, b.contender, level, request.margin),
        spread=spread(a.parts - b.parts),
        disagreements=discordant_pairs(
            a.image_predictions, b.image_predictions, differences, cohort
        ),
        disputed=discordant_images(a.image_predictions, b.image_predictions, cohort),
    )
