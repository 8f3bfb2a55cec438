"""Sentences of the leaderboard page."""

from __future__ import annotations

from bench.leaderboard import REFERENCE, DatasetFacts, Leaderboard
from bench.leaderboard.text import metric
from bench.report.format import count, counted, listed, plain, said
from bench.report.tables import cell, method_name

GROUPING = {
    "patient": "Patient-level: all images of a patient stand on one side of every fold.",
    "lesion": "Lesion-level: this data has no patient ids. All images of one lesion id stand on "
    "one side of every fold, but two lesions of one patient may not, so the numbers may be kinder "
    "than patient-level ones.",
    "image": "Image-level: this data has neither patient nor lesion ids. Images of one patient may "
    "stand on both sides of a fold, so the numbers are kinder than patient-level ones.",
}
SYNTHETIC = (
    "These images were drawn by a program, not taken of skin. The numbers show that the bench "
    "works, and nothing about any diagnosis."
)
CONTROL = (
    "This protocol divides groups on purpose, to show how much a leaking split flatters. "
    "No row is ranked."
)
DIVIDED = (
    "Groups are divided on purpose: images of one {unit} stand on both sides of a fold. Intervals "
    "resample whole {units} all the same."
)
UNGROUPED = (
    "They carry neither patient nor lesion id, and each counts as a group of its own; relatives "
    "of theirs may stand on the other side of a fold."
)
_MANY = 4


def plural(unit: str) -> str:
    """The unit of grouping, of several."""
    return f"{plain(unit)}s"


def title(board: Leaderboard) -> str:
    """The page's title: says first if the data is synthetic."""
    facts = board.dataset
    warning = "Synthetic data: " if facts.synthetic else ""
    return f"{warning}{said(facts.title)}, {plain(board.protocol)} leaderboard"


def banners(board: Leaderboard) -> tuple[tuple[str, str, str], ...]:
    """What must be read before any number: (kind, heading, sentence)."""
    facts = board.dataset
    lone = f"Grouping incomplete: {counted(facts.ungrouped, 'image')}"
    every = (
        (facts.synthetic, "synthetic", "Synthetic data", SYNTHETIC),
        (board.control, "control", "Control, not a comparison", CONTROL),
        (facts.ungrouped > 0, "grouping", lone, UNGROUPED),
    )
    return tuple((kind, heading, text) for holds, kind, heading, text in every if holds)


def grouping(facts: DatasetFacts) -> str:
    """What a group is, and what that leaves open."""
    return GROUPING.get(facts.unit, f"Grouped by {plain(facts.unit)}.")


def unit(board: Leaderboard) -> str:
    """What a group is, and what this protocol does with it."""
    if divides(board):
        known = board.dataset.unit
        return DIVIDED.format(unit=plain(known), units=plural(known))
    return grouping(board.dataset)


def divides(board: Leaderboard) -> bool:
    """Whether the rows shown were trained on pictures of the groups they are tested on."""
    return board.control and board.arms is None


def protocol_title(title: str, unit: str) -> str:
    """The protocol's title in the unit that the data has: by lesion where no patient is known."""
    return plain(title if unit == "patient" else title.replace("by patient", f"by {unit}"))


def standfirst(board: Leaderboard) -> tuple[str, ...]:
    """The sentences below the headline: against whom, against chance, on what."""
    words = []
    first = board.leader
    if first is not None:
        against = board.against(first)
        open_, level = against["not settled"], against["no difference seen"]
        if against["better"] and (open_ or level):
            words.append(f"It is better than {_some(against['better'])}.")
        if open_:
            words.append(f"Whether it is better than {_some(open_)} is not settled.")
        if level:
            words.append(f"Between it and {_some(level)} no difference is seen.")
    words += _chance(board)
    facts = board.dataset
    kind = "synthetic images" if facts.synthetic else "images"
    images, groups = board.tested or (facts.images, facts.groups)
    people = f" of {count(groups)} {plural(facts.unit)}" if facts.unit != "image" else ""
    where = f"Tested on {count(images)} {kind}{people} ({said(facts.title)})"
    if divides(board):
        return (*words, f"{where}, each image once{_times(board)}.")
    arm = f" The rows are those of the arm {plain(board.arms.arms[0].name)}." if board.arms else ""
    once = f"each image once{_times(board)}, by models trained without {unseen(facts.unit)}"
    return (*words, f"{where}, {once}.{arm}", *unverified(board))


def unseen(unit: str) -> str:
    """What the folds keep from a model that predicts an image, and how far they can."""
    if unit == "image":
        return "it"
    units = plural(unit)
    return f"its {plain(unit)}, as far as {units} were known when the folds were frozen"


def unverified(board: Leaderboard) -> tuple[str, ...]:
    """Whose training nobody saw, so that what the folds guarantee is not known of them."""
    names = [said(row.name) for row in board.rows if row.kind == "submitted"]
    if not names:
        return ()
    rows = "Submitted rows are" if len(names) > 1 else "The submitted row is"
    return (f"{rows} excepted, the training not being verified: {_some(names)}.",)


def _times(board: Leaderboard) -> str:
    return "" if board.repeats == 1 else f" in each of {board.repeats} repeats"


def _some(names: list[str]) -> str:
    if len(names) <= _MANY:
        return listed(names)
    return f"{', '.join(names[: _MANY - 1])} and {len(names) - _MANY + 1} more"


def _chance(board: Leaderboard) -> list[str]:
    methods = [row for row in board.rows if row.kind != REFERENCE]
    failing = [said(row.name) for row in methods if board.fault(row)]
    best = board.reference_text
    if not methods or not best:
        return []
    if not failing:
        who = "It clears" if len(methods) == 1 else f"All {len(methods)} methods clear"
        return [f"{who} the best reference row ({best})."]
    if len(failing) == len(methods):
        return [f"No method clears the best reference row ({best})."]
    verb = "does" if len(failing) == 1 else "do"
    return [f"{_some(failing)} {verb} not clear the best reference row ({best})."]


# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


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


def ties(groups: tuple[tuple[str, ...], ...]) -> list[str]:
    """The groups of rows without a significant difference, in one sentence; [] without a group."""
    if not groups:
        return []
    each = "; ".join(listed([said(row) for row in group]) for group in groups)
    return [f"No significant difference between {each}."]
