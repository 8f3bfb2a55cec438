"""How the numbers of a leaderboard were made, and what the marks beside them mean."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

import math

from bench.estimates import Leaderboard
from bench.report.catalogue import metric
from bench.report.cells import method_name
from bench.report.numbers import count, counted
from bench.report.words import grouping, plural

MARKS = {
    "few lesions": "Below 50 groups in the part the metric is worked out on; intervals of so few "
    "are not to be relied on.",
    "biased": "Resampling adds noise that this metric counts as error; its interval need not hold "
    "the estimate.",
    "percentile": "The interval is the percentile one, not the table’s usual one.",
    "Clopper–Pearson": "All resamples agree, so the interval is the exact one for a proportion, "
    "worked out on groups.",
    "BCa": "The interval is the bias-corrected and accelerated one, not the table’s usual one.",
    "no interval": "All resamples agree and the metric is no proportion, or none could be made.",
}


def how_made(board: Leaderboard) -> tuple[tuple[str, str], ...]:
    """How the numbers were made, as terms with their explanation."""
    facts, made = board.dataset, board.interval
    folds = counted(board.folds, "fold")
    repeats = f", drawn {board.repeats} times over" if board.repeats > 1 else ""
    level = f"{made.level * 100:g}%"
    return (
        (
            "Folds",
            (
                f"{folds}{repeats}, fixed before anyone trained and kept as a list of who is "
                "where. Every image is tested by a model that learned without its group; early "
                "stopping, model choice and thresholds use a part of the training groups only."
            ),
        ),
        ("Groups", grouping(facts)),
        (
            "Pooling",
            (
                "Counts, and all metrics made of them, and log loss, Brier score and ECE are "
                "worked out over the test predictions of all folds together. AUC and AP are "
                "means over the folds in which they are defined, since pooling scores would "
                "mix the folds’ calibrations. With several seeds: the metric first, then the "
                "mean."
            ),
        ),
        (
            "Intervals",
            (
                f"{level} intervals from {count(made.resamples)} resamples of whole "
                f"{plural(made.unit)} (cluster bootstrap, {method_name(made.method)}), "
                "because images of one are not independent. All are conditional on the "
                "trained models: they say how the numbers would vary with other "
                f"{plural(made.unit)}, not with another training."
            ),
        ),
        (
            "Digits",
            (
                "As many as give the interval’s width two significant digits. Undefined is "
                "n/a with the reason, never 0 and never 1."
            ),
        ),
        (
            "Ranks",
            (
                "The rank’s interval and the share of first places come from ranking the rows "
                "anew in each resample. Only complete rows of declared origin are ranked."
            ),
        ),
        (
            "Reference rows",
            (
                "Majority answers the commonest class, prior the training part’s class "
                "shares, uniform draws labels at random. A method whose interval does "
                "not lie above the best of them is marked in red and in words."
            ),
        ),
        (
            "Pairs of rows",
            (
                "Two questions. These models: the paired cluster bootstrap of the "
                "difference, both on the same resampled groups. These algorithms: the "
                "corrected resampled t test over the folds (Nadeau & Bengio), p values "
                "adjusted by Holm. Only where both say so is a row called better; one "
                "of them alone is not settled."
            ),
        ),
    )


def marks(board: Leaderboard) -> tuple[tuple[str, str], ...]:
    """The marks that stand on this page, explained."""
    estimates = [
        estimate
        for row in board.rows
        for table in (row.table.metrics, *row.table.per_class.values())
        for key, estimate in table.items()
        if not metric(key).counts
    ]
    used = {word for one in estimates for word in one.marks}
    for one in estimates:
        if not math.isnan(one.value) and math.isnan(one.low):
            used.add("no interval")
        elif one.method not in ("", board.interval.method):
            used.add(method_name(one.method))
    return tuple((word, MARKS[word]) for word in MARKS if word in used)
