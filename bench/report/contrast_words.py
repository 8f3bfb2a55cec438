"""The sentences of a comparison: the verdict first, then what else may be said."""

from __future__ import annotations

import math

from bench.contrast import Belief, Contrast, NonInferiority, Pair
from bench.report.catalogue import metric
from bench.report.names import listed, plain, said
from bench.report.numbers import MINUS, count, counted, fixed, p_value
from bench.report.words import plural

FEW_FOLDS = 6


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
        return f"{a} and {b} do the same: every resample agrees."
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
    words = [] if len(found.pairs) == 1 else [verdict(found, pair) for pair in found.pairs]
    words += ties(found.tie_groups) if len(found.rows) > 2 else []  # noqa: PLR2004
    for pair in found.pairs:
        if pair.non_inferiority is not None:
            words.append(non_inferior(pair, pair.non_inferiority))
    words += [f"{plain(note)}." for note in found.notes]
    if found.control:
        words.append("This protocol is a control: groups are divided, and no test is made.")
    words.append(
        f"{count(found.tested[0])} images of {count(found.tested[1])} "
        f"{plural(found.dataset.unit)}{f', arm {plain(found.arm)}' if found.arm else ''}; "
        f"{_adjusted(found)}. Intervals are conditional on the trained models."
    )
    return tuple(words)


def _adjusted(found: Contrast) -> str:
    pairs = found.family * (found.family - 1) // 2
    if found.control:
        return "no test over folds"
    if pairs == 1:
        return "p of this one pair; no other row is ranked"
    return f"p adjusted over the {pairs} pairs of {found.family} rows, ranked or compared (Holm)"


def ties(groups: tuple[tuple[str, ...], ...]) -> list[str]:
    """Which rows are not told apart, in a sentence; none where all are."""
    if not groups:
        return []
    told = "; ".join(listed([said(row) for row in group]) for group in groups)
    return [f"Not told apart: {told}."]


def non_inferior(pair: Pair, shown: NonInferiority) -> str:
    """Whether a is not inferior to b, in words."""
    one = pair.comparison
    margin = amount(shown.margin, one.metric)
    bound = bare(shown.bound, one.metric).replace("-", MINUS)
    test = f"one-sided {p_value(shown.p)}" if not math.isnan(shown.p) else "no test"
    how = f"the interval ends at {bound}, {test}"
    if shown.shown:
        return f"{said(one.a)} is not inferior to {said(one.b)} by a margin of {margin}: {how}."
    return f"That {said(one.a)} is not inferior to {said(one.b)} by {margin} is not shown: {how}."


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
