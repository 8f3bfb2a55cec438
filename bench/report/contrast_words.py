"""The sentences of a comparison: the verdict first, then what else may be said."""

from __future__ import annotations

import math
from collections import Counter

from bench.contrast import Belief, Contrast, NonInferiority, Pair
from bench.report.catalogue import metric
from bench.report.names import listed, plain, said
from bench.report.numbers import count, counted, fixed, p_value
from bench.report.words import plural

FEW_FOLDS = 6
MOST_VERDICTS = 6
"""So many pairs are each told in a sentence; of more, those that are told apart."""


def amount(value: float, name: str) -> str:
    """A size of a difference: `1.8 points of macro-F1`, or `0.021 of log loss`."""
    about = metric(name)
    if math.isinf(about.bounds[1]):
        return f"{fixed(value, 3)} of {about.label}"
    return f"{fixed(100 * value, 1)} points of {about.label}"


def bare(value: float, name: str) -> str:
    """The same without its unit, for what follows: `0.4`."""
    return fixed(value, 3) if math.isinf(metric(name).bounds[1]) else fixed(100 * value, 1)


def verdict(found: Contrast, pair: Pair) -> str:
    """The verdict on a pair, in one sentence."""
    one = pair.comparison
    a, b = said(one.a), said(one.b)
    open_, level = "not settled", "no difference seen"
    first, second = (b, a) if one.verdict == "worse" else (a, b)
    if _ahead_is_b(one.difference, one.metric) and one.verdict == open_:
        first, second = b, a
    size = amount(abs(one.difference), one.metric)
    if math.isnan(one.difference):
        return f"{a} and {b} cannot be compared: {metric(one.metric).label} is undefined."
    if one.verdict not in (open_, level):
        return f"{first} is better than {second} by {size}, {_ends(found, pair)}{_p(pair)}."
    if one.verdict == open_:
        return f"Whether {first} is better than {second} is not settled: {_why_open(found, pair)}."
    seen = max(pair.detectable.interval, _or_zero(pair.detectable.test))
    if one.difference == 0 and math.isnan(one.low):
        label = metric(one.metric).label
        return f"{a} and {b} have the same {label} in every resample."
    told = f"The data cannot tell {a} and {b} apart"
    if math.isnan(seen):
        return f"{told}."
    return f"{told}; a difference of {amount(seen, one.metric)} could have been seen."


def _ahead_is_b(difference: float, name: str) -> bool:
    return difference > 0 if metric(name).lower else difference < 0


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _ends(found: Contrast, pair: Pair) -> str:
    """`95% CI 0.4 to 3.1`, of the size, as its sentence has it."""
    one = pair.comparison
    low, high = (one.low, one.high) if one.difference >= 0 else (-one.high, -one.low)
    if math.isnan(low):
        return "without an interval"
    return f"{_level(found)} CI {bare(low, one.metric)} to {bare(high, one.metric)}"


def _level(found: Contrast) -> str:
    return f"{found.interval.level * 100:g}%"


def _p(pair: Pair) -> str:
    text = p_value(pair.comparison.p_adjusted)
    return f"; adjusted {text}" if text else "; no test"


def _why_open(found: Contrast, pair: Pair) -> str:
    one = pair.comparison
    size = amount(abs(one.difference), one.metric)
    apart = one.low > 0 or one.high < 0
    if math.isnan(one.p_adjusted):
        return f"{size}, {_ends(found, pair)}, but there is no test over folds here"
    few = f" ({counted(found.folds, 'fold')} are few)" if found.folds < FEW_FOLDS else ""
    but = f"adjusted {p_value(one.p_adjusted)}"
    if apart:
        return f"{size}, {_ends(found, pair)}, but {but}{few}"
    return f"{size}, {but}, but {_ends(found, pair)}"


def headline(found: Contrast) -> str:
    """The verdict on all rows."""
    part = "" if found.trainings[0] >= found.trainings[1] else f"{_common(found)}: "
    synthetic = "On synthetic data: " if found.dataset.synthetic else ""
    if len(found.pairs) == 1:
        return f"{synthetic}{part}{verdict(found, found.pairs[0])}"
    settled = [pair for pair in found.pairs if pair.comparison.verdict in ("better", "worse")]
    name = metric(found.metric).label
    if not settled:
        return f"{synthetic}{part}No two of the {len(found.rows)} methods are told apart by {name}."
    best = _beats_all(found)
    if best:
        return f"{synthetic}{part}{said(best)} is better than all others by {name}."
    told = f"{len(settled)} of {len(found.pairs)} pairs are told apart by {name}"
    return f"{synthetic}{part}{told}."


def _beats_all(found: Contrast) -> str:
    for row in found.rows:
        wins = {
            one.b if one.verdict == "better" else one.a
            for one in (pair.comparison for pair in found.pairs)
            if (one.verdict == "better" and one.a == row)
            or (one.verdict == "worse" and one.b == row)
        }
        if len(wins) == len(found.rows) - 1:
            return row
    return ""


def _common(found: Contrast) -> str:
    have, whole = found.trainings
    return f"On the {have} of {whole} trainings that all have"


def standfirst(found: Contrast) -> tuple[str, ...]:
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


def _verdicts(found: Contrast) -> list[str]:
    """The verdict on each pair, or, of many, on those told apart and how many are not."""
    if len(found.pairs) <= MOST_VERDICTS:
        return [verdict(found, pair) for pair in found.pairs]
    settled = [pair for pair in found.pairs if pair.comparison.verdict in ("better", "worse")]
    kinds = Counter(pair.comparison.verdict for pair in found.pairs)
    return [
        *(verdict(found, pair) for pair in settled),
        *(
            f"Of {counted(kinds[kind], 'pair')}: {kind}."
            for kind in ("not settled", "no difference seen")
            if kinds[kind]
        ),
    ]


def _adjusted(found: Contrast) -> str:
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


def non_inferior(found: Contrast, pair: Pair, shown: NonInferiority) -> str:
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


def _worst(pair: Pair, shown: NonInferiority) -> str:
    """Where the interval ends, on the side that counts."""
    if shown.bound == 0:
        return "by its interval it is at worst as good"
    way = "better" if shown.bound > 0 else "worse"
    return f"by its interval it is at worst {bare(abs(shown.bound), pair.comparison.metric)} {way}"


def believed(pair: Pair, found: Belief) -> str:
    """The posterior in words."""
    one = pair.comparison
    return (
        f"{said(one.a)} is the better with a probability of {percent(found.a_better)}, "
        f"{said(one.b)} with {percent(found.b_better)}; they are alike with {percent(found.alike)}."
    )


def percent(share: float) -> str:
    """A share of a posterior, to a tenth of a percent."""
    return f"{share * 100:.1f}%"
