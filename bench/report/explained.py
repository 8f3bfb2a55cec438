"""How the numbers of a leaderboard were made, and what the marks beside them mean."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from bench.estimates import Leaderboard
from bench.report.catalogue import metric
from bench.report.cells import cell, method_name
from bench.report.names import plain
from bench.report.numbers import count, counted
from bench.report.words import divides, plural, unit, unseen, unverified

RARE = "undefined in some resamples"
FOLDS = "some folds"
MARKS = {
    "few lesions": "Below 50 groups in the part the metric is worked out on; intervals of so few "
    "are not to be relied on.",
    "biased": "Resampling adds noise that this metric counts as error; its interval need not hold "
    "the estimate.",
    "percentile": "The interval is the percentile one, not the table’s usual one.",
    "Clopper–Pearson": "All resamples agree, so the interval is the exact one for a proportion, "
    "worked out on groups.",
    "BCa": "The interval is the bias-corrected and accelerated one, not the table’s usual one.",
    RARE: "In so many resamples the metric is undefined; its interval comes from the others.",
    FOLDS: "The metric is undefined in the other folds; the value is the mean over these.",
    "incomplete": "Worked out on a part of the folds and seeds that the protocol asks for.",
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
                "where. Every tested image is predicted by a model that learned without "
                f"{unseen('image' if divides(board) else 'group')}; early stopping, model choice "
                f"and thresholds use a val part of their own. {' '.join(unverified(board))}".strip()
            ),
        ),
        ("Groups", unit(board)),
        (
            "Roster",
            (
                f"sha256 {plain(facts.roster_sha256)}, of the list of images with their group and "
                "label: who is in the data, whatever the file or the resolution."
            ),
        ),
        (
            "Pooling",
            (
                "Counts, and all metrics made of them, and log loss, Brier score and ECE are "
                "worked out over the test predictions of all folds together. AUC and AP are "
                "means over the folds in which they are defined, since pooling scores would "
                "mix the folds’ calibrations. Over seeds and repeats: the metric first, then the "
                "mean over those the protocol asks for, whose confusion counts are added up; "
                "further seeds enter the spread over seeds only."
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
                "anew in each resample. The interval is percentile and biased: resampling adds "
                "noise to the order, so it need not hold the rank. Only complete rows of "
                "declared origin are ranked."
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
    """The marks that stand on this page, explained; those with numbers of their own by example."""
    used: dict[str, str] = {}
    for row in board.rows:
        for table in (row.table.metrics, *row.table.per_class.values()):
            for key, estimate in table.items():
                shown = cell(estimate, metric(key), board.interval)
                for mark in shown.marks:
                    used.setdefault(kind_of(mark), mark)
    return tuple((used[kind], MARKS[kind]) for kind in MARKS if kind in used)


def kind_of(mark: str) -> str:
    """What a mark is about: itself, or its pattern where it has numbers of its own."""
    if mark.endswith("of resamples"):
        return RARE
    return FOLDS if " folds" in mark else mark
