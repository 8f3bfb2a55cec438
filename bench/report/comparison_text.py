"""Sentences of the comparison page."""

from __future__ import annotations

import math
from collections import Counter

from bench.leaderboard import (
    BayesianTest,
    ComparisonReport,
    NonInferiority,
    PairComparison,
    amount,
    bare,
)
from bench.leaderboard.text import metric
from bench.report.format import count, counted, listed, p_value, plain, said
from bench.report.text import plural

MOST_VERDICTS = 6
"""So many pairs are each told in a sentence; of more, those that are told apart."""


def standfirst(found: ComparisonReport) -> tuple[str, ...]:
    """What follows the verdict."""
    words = [] if len(found.pairs) == 1 else _verdicts(found)
    words += ties(found.tie_groups) if len(found.rows) > 2 else []  # noqa: PLR2004
    for pair in found.pairs:
        if pair.non_inferiority is not None:
            words.append(non_inferior(found, pair, pair.non_inferiority))
    if any("biased" in table.metrics[found.metric].marks for table in found.tables.values()):
        label = metric(found.metric).label
        words.append(
            f"Resampling adds noise that {label} counts as error, so its intervals, and a verdict "
            "by them, hold less often than they say."
        )
    words += [f"{plain(note)}." for note in found.notes]
    if found.control:
        words.append("This protocol is a control: groups are divided, and no test is made.")
    words.append(
        f"{count(found.tested[0])} images of {count(found.tested[1])} "
        f"{plural(found.dataset.unit)}{f', arm {plain(found.arm)}' if found.arm else ''}; "
        f"{_adjusted(found)}. Intervals are conditional on the trained models."
    )
    return tuple(words)


def _verdicts(found: ComparisonReport) -> list[str]:
    """The verdict on each pair, or, of many, on those told apart and how many are not."""
    if len(found.pairs) <= MOST_VERDICTS:
        return [found.pair_verdict(pair) for pair in found.pairs]
    settled = [pair for pair in found.pairs if pair.comparison.verdict in ("better", "worse")]
    kinds = Counter(pair.comparison.verdict for pair in found.pairs)
    return [
        *(found.pair_verdict(pair) for pair in settled),
        *(
            f"Of {counted(kinds[kind], 'pair')}: {kind}."
            for kind in ("not settled", "no difference seen")
            if kinds[kind]
        ),
    ]


def _adjusted(found: ComparisonReport) -> str:
    rows = len(found.family)
    pairs = rows * (rows - 1) // 2
    if found.control:
        return "no test over folds"
    if pairs == 1:
        return "p of this one pair; no other row is ranked"
    return f"p adjusted over the {pairs} pairs of {rows} rows, ranked or compared (Holm)"


def ties(groups: tuple[tuple[str, ...], ...]) -> list[str]:
    """Which rows are not told apart, in a sentence; none where all are."""
    if not groups:
        return []
    told = "; ".join(listed([said(row) for row in group]) for group in groups)
    return [f"Not told apart: {told}."]


def non_inferior(found: ComparisonReport, pair: PairComparison, shown: NonInferiority) -> str:
    """Whether a is not inferior to b, in words, and what speaks against it."""
    one = pair.comparison
    a, b, margin = said(one.a), said(one.b), amount(shown.margin, one.metric)
    by_interval, by_test = _worst(pair, shown), f"one-sided {p_value(shown.p)}"
    asked = f"{(1 - found.interval.level) / 2:g}"
    if shown.shown:
        return (
            f"{a} is not inferior to {b} by a margin of {margin}: {by_interval}, {by_test} (below "
            f"{asked})."
        )
    if math.isnan(shown.bound):
        why = "there is no interval"
    elif shown.bound <= -shown.margin:
        why = by_interval
    elif math.isnan(shown.p):
        why = f"{by_interval}, but there is no test over folds here"
    else:
        why = f"{by_interval}, but {by_test} is not below {asked}"
    return f"That {a} is not inferior to {b} by {margin} is not shown: {why}."


def _worst(pair: PairComparison, shown: NonInferiority) -> str:
    """Where the interval ends, on the side that counts."""
    if shown.bound == 0:
        return "by its interval it is at worst as good"
    way = "better" if shown.bound > 0 else "worse"
    return f"by its interval it is at worst {bare(abs(shown.bound), pair.comparison.metric)} {way}"


def believed(pair: PairComparison, found: BayesianTest) -> str:
    """The posterior in words."""
    one = pair.comparison
    return (
        f"{said(one.a)} is the better with a probability of {percent(found.a_better)}, "
        f"{said(one.b)} with {percent(found.b_better)}; they are alike with {percent(found.alike)}."
    )


def percent(share: float) -> str:
    """A share of a posterior, to a tenth of a percent."""
    return f"{share * 100:.1f}%"


# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


INTERVALS = (
    "{level:g}% from {resamples} resamples of whole {unit}; of differences paired (both rows on "
    "the same resample, percentile). Conditional on the trained models: other trainings are not in "
    "them. So many metrics and classes stand here that one in twenty of their intervals excludes "
    "zero by chance; the verdict is of one metric only."
)
TEST = (
    "Corrected resampled t test over the folds (Nadeau & Bengio 2003) with the roles’ ratio of "
    "test to train, p values adjusted by Holm over the pairs of all ranked rows and those compared "
    "here. Better: where interval and test both say so."
)
SEEN = (
    "The true difference that this comparison’s noise would let be found with 80% power; it says "
    "nothing of the difference observed. The verdict needs both the interval and the adjusted "
    "test, so it names the larger one; that by the test is of the worst case of Holm, in which p "
    "is multiplied by the number of pairs."
)
MCNEMAR = (
    "Exact, on images that one row alone gets right. It takes images for independent, which those "
    "of one group are not. The p beside it flips the signs of whole {unit} (exact randomisation "
    "test): where each image is its own group, the two are equal."
)
CORRELATION = (
    "How alike the two rows’ difference (right or wrong) is on two images of one group; the design "
    "effect is by how much that inflated the variance."
)
BAYES = (
    "Correlated t test (Corani & Benavoli 2015, by baycomp) with the roles’ ratio of test to "
    "train: shares of the posterior of the mean difference over folds."
)
SPREAD = (
    "Standard deviations of one fold’s value. {Unit}: other ones in the test part, by bootstrap "
    "within the folds. Training: what the folds differ by beyond that, never below 0.{seeds} With "
    "{folds} these are rough."
)
ONE_SEED = " One seed of each row is compared, so training holds the seed’s part, too."


def how_made(found: ComparisonReport) -> tuple[tuple[str, str], ...]:
    """How the numbers were made, as terms with their explanation."""
    made, unit = found.interval, plural(found.interval.unit)
    several = any(spread.seeds > 1 for spread in found.spreads.values())
    words = {
        "level": made.level * 100,
        "resamples": count(made.resamples),
        "unit": unit,
        "Unit": unit.capitalize(),
        "seeds": "" if several else ONE_SEED,
        "folds": counted(found.folds, "fold"),
    }
    every = (
        ("Intervals", INTERVALS),
        ("Test", TEST),
        ("Could have been seen", SEEN),
        ("McNemar", MCNEMAR),
        ("Intra-class correlation", CORRELATION),
        ("Bayesian test", BAYES),
        ("Spread", SPREAD),
    )
    return tuple((term, text.format(**words)) for term, text in every)
