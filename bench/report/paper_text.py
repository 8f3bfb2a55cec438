"""Methods paragraph and tables of a paper.

pdfLaTeX's T1 fonts set Latin letters. Others (Hebrew, Greek, signs) are spelled by their code, so
that a document always compiles; the ones that this project itself writes become commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.leaderboard import REFERENCE, DatasetFacts, Leaderboard, LeaderboardRow
from bench.leaderboard.text import metric
from bench.report.dataset_page import open_pairs
from bench.report.dataset_report import DatasetReport
from bench.report.format import (
    count,
    counted,
    decimals,
    fixed,
    interval,
    listed,
    name,
    p_value,
    plain,
    signed,
)
from bench.report.leaderboard_page import shown_pairs
from bench.report.tables import METHODS, Cell, cell, method_name, metric_order
from bench.report.text import FOLDS, MARKS, RARE, kind_of, plural, unseen
from bench.settings import REPORTS

if TYPE_CHECKING:
    from jinja2 import Environment


COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_\allowbreak{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": "'",
    "`": r"\textasciigrave{}",
    "*": "{*}",
    "[": "{[}",
    "]": "{]}",
    "@": r"@\allowbreak{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREEK SMALL LETTER KAPPA}": r"$\kappa$",
    "\N{INFINITY}": r"$\infty$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
}
"""`[` and `*` too: behind a line's end LaTeX would take them for its options."""
LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]")


class Tex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


def escape(text: object) -> Tex:
    """Any text as LaTeX that shows it."""
    if isinstance(text, Tex):
        return text
    return Tex("".join(map(_one, plain(str(text)))))


def _one(char: str) -> str:
    if char in COMMANDS:
        return COMMANDS[char]
    if char.isascii() or LATIN.fullmatch(char):
        return char
    return rf"\textbackslash{{}}u{ord(char):04x}"


def render_tex(template: str, **content: Any) -> str:
    """A LaTeX file from a template of `reports/paper`; what is put into it is escaped."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(REPORTS / "paper"),
        autoescape=False,  # noqa: S701 - HTML's escaping is not LaTeX's: `finalize` escapes
        finalize=escape,
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


DATASET = "dataset"
_KEY = re.compile(r"@\w+\{([^,]+),")


@cache
def library() -> dict[str, str]:
    """Every entry that the bench can cite, by key."""
    text = (REPORTS / "paper" / "references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"(?m)^(?=@)", text) if entry.startswith("@")]
    return {match[1]: entry for entry in entries if (match := _KEY.match(entry))}


def cited(text: str) -> list[str]:
    r"""Keys in the \cite commands of LaTeX text, each once, in order."""
    groups = re.findall(r"\\cite\{([^}]*)\}", text)
    return list(dict.fromkeys(key.strip() for group in groups for key in group.split(",")))


def bibliography(keys: Iterable[str], facts: DatasetFacts) -> str:
    """The entries of these keys; the dataset's own made from its citation.

    Raises KeyError for a key that the library lacks.
    """
    known = library() | {DATASET: _dataset(facts)}
    return "\n\n".join(known[key] for key in keys) + "\n"


def _dataset(facts: DatasetFacts) -> str:
    return (
        f"@misc{{{DATASET},\n  title = {{{{{escape(facts.title)}}}}},\n"
        f"  note = {{{escape(facts.citation or 'no citation is on record')}}}\n}}"
    )


SHOWN = 12
CITED = {"torch": "paszke2019pytorch", "timm": "wightman2019timm"}


def cite(*keys: str) -> Tex:
    """A citation, with the space before it that never breaks."""
    return Tex(f"~\\cite{{{','.join(keys)}}}")


def paragraphs(study: DatasetReport) -> tuple[Tex, ...]:
    """Data, folds, methods, statistics: what was done, a paragraph each."""
    made = (_data(study), _folds(study), _methods(study), _statistics(study), _reporting(study))
    return tuple(Tex(" ".join(one)) for one in map(list, made) if one)


def _data(study: DatasetReport) -> Iterator[str]:
    manifest = study.manifest
    where = f"{count(len(manifest))} images of {count(study.groups)} groups"
    yield (
        escape(f"We used {name(manifest.title, 80).short}") + cite(DATASET) + escape(f": {where}.")
    )
    if manifest.synthetic:
        yield escape("All images are synthetic: no result says anything about skin.")
    if manifest.unit != "patient":
        yield escape(
            f"The data carry no patient identifiers; a group is a {manifest.unit}, so two of them "
            "may be of one patient, and the results are not patient-level."
        )
    joined = study.native_groups - study.groups
    if joined:
        pairs = counted(len(study.pairs.frozen), "pair")
        yield escape(
            f"Known duplicates ({pairs} of images) joined {count(study.native_groups)} "
            f"{plural(manifest.unit)} into {count(study.groups)} groups."
        )
    if manifest.ungrouped:
        lone = counted(manifest.ungrouped, "image")
        yield escape(f"{lone} carry no group identifier and count as groups of their own.")
    if study.left_out:
        told = "; ".join(f"{title.lower()}: {count(n)}" for title, n in study.left_out.items())
        yield escape(f"Left out while reading the metadata: {told}.")


def _folds(study: DatasetReport) -> Iterator[str]:
    protocol, split = study.protocol, study.protocol.split
    repeats = f", drawn {split.repeats} times" if split.repeats > 1 else ""
    arms = f" in each of the arms {listed(list(split.arms))}" if split.arms else ""
    stratify = listed(["class" if key == "label" else key for key in split.stratify])
    text = escape(
        f"The protocol {protocol.name} has {counted(split.folds, 'fold')}{arms}"
        f"{repeats}, frozen before any training and balanced by {stratify}"
    )
    yield text + (cite("sechidis2011stratification") if split.dealer == "iterative" else "") + "."
    if split.control:
        yield escape("Groups are divided on purpose: it is a control, and no method is ranked.")
    else:
        yield escape("All images of a group stand in one part of a fold.")
    yield escape(
        "Models learnt on the training part; early stopping, model choice and thresholds used the "
        f"validation part ({split.val:.0%} of the images); every test image was predicted by a "
        f"model that had learnt without {unseen('image' if split.control else 'group')}."
    )
    if study.submitted:
        yield escape("Of submitted predictions that is not verified.")
    for sentence in open_pairs(study):
        yield escape(sentence)


def _methods(study: DatasetReport) -> Iterator[str]:
    board = study.board
    rows = [row for row in board.rows if row.kind != "reference"]
    named = [name(row.name, 40).short for row in rows[:SHOWN]]
    more = [f"{len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    if rows:
        who = counted(len(rows), "method was", "methods were")
        yield escape(f"{who} compared: {listed([*named, *more])}.")
    joined = [name(row.name, 40).short for row in study.ensembles]
    if joined:
        yield escape(
            f"Of these, {listed(joined)} trained nothing, but "
            f"{'pools' if len(joined) == 1 else 'pool'} predictions of others by weights chosen, "
            "fold by fold, on the validation part."
        )
    submitted = [name(row.name, 40).short for row in study.submitted]
    if submitted:
        yield escape(f"Submitted as predictions, their training not verified: {listed(submitted)}.")
    unranked = [row for row in rows if row.facts.unranked or not row.complete]
    if unranked and not board.control:
        told = [name(row.name, 40).short for row in unranked]
        yield escape(f"Not ranked, being incomplete or of undeclared origin: {listed(told)}.")
    yield from _seeds(study)
    yield from _software(study)
    refs = [name(row.name).short for row in board.rows if row.kind == "reference"]
    if refs:
        yield escape(
            f"Reference rows that have learnt nothing from images ({listed(refs)}) stand beside "
            "them."
        )


def _seeds(study: DatasetReport) -> Iterator[str]:
    """Which seeds the numbers are of, and what the others are for."""
    rows, wanted = study.trained, sorted(set(study.protocol.run.seeds))
    if not rows:
        return
    named = listed(list(map(str, wanted)))
    over = f"of random seed {named}" if len(wanted) == 1 else f"means over random seeds {named}"
    whole = all(row.complete for row in rows)
    part = "" if whole else ", those of incomplete rows of what is there"
    yield escape(f"All numbers are {over}{part}.")
    further = {
        name(row.name, 40).short: listed(list(map(str, beyond)))
        for row in rows
        if (beyond := sorted(set(row.seeds) - set(wanted)))
    }
    if further:
        told = "; ".join(f"{row}: {seeds}" for row, seeds in further.items())
        yield escape(f"Further seeds ({told}) enter the spread over seeds only.")


def _software(study: DatasetReport) -> Iterator[str]:
    told: list[str] = []
    for key in ("python", "torch", "timm"):
        found = {row.facts.environment.get(key, "") for row in study.trained} - {""}
        if found:
            versions = escape(f"{key} {' or '.join(sorted(found))}")
            told.append(versions + (cite(CITED[key]) if key in CITED else ""))
    commits = {row.facts.environment.get("commit", "") for row in study.trained} - {""}
    at = ""
    if commits:
        at = escape(f", the bench's code at commit {listed(sorted(c[:12] for c in commits))}")
    if told:
        yield escape("Trained with ") + ", ".join(told) + at + "."


def _statistics(study: DatasetReport) -> Iterator[str]:
    board, made = study.board, study.board.interval
    primary = metric(board.primary).label
    yield (
        escape(
            f"The primary metric, fixed with the protocol, is {primary}. Counts and metrics made "
            "of them are worked out over the test predictions of all folds together; AUC and "
            "average precision are means over the folds in which they are defined"
        )
        + cite("forman2010apples")
        + "."
    )
    bca = cite("efron1987better") if made.method == "bca" else ""
    yield (
        escape(
            f"Intervals are {made.level:.0%} intervals from {count(made.resamples)} bootstrap "
            f"resamples of whole {plural(made.unit)}"
        )
        + cite("field2007bootstrapping")
        + escape(f" ({method_name(made.method)}")
        + bca
        + escape("; where all resamples agree, exact")
        + cite("clopper1934use")
        + escape("); they are conditional on the trained models")
        + cite("bates2024cross")
        + "."
    )
    tested = [one for one in board.comparisons if one.p_adjusted == one.p_adjusted]
    if board.comparisons:
        yield escape(
            "Differences are paired: both methods on the same resampled groups (percentile "
            "intervals)."
        )
    if tested:
        yield (
            escape("They were tested by the corrected resampled t test over the folds")
            + cite("nadeau2003inference")
            + escape(", adjusted by Holm's procedure over the pairs of ranked methods")
            + cite("holm1979simple")
            + escape(
                "; a method is called better only where interval and adjusted test both say so."
            )
        )
    if any(row.rank.best is not None for row in board.rows):
        yield (
            escape("Intervals of ranks come from ranking the methods anew in each resample")
            + cite("wiesenfarth2021methods")
            + "."
        )


def _reporting(study: DatasetReport) -> Iterator[str]:
    yield (
        escape("The items of STARD-AI, TRIPOD+AI and CLEAR Derm")
        + cite("stardai2025", "tripodai2024", "clearderm2022")
        + escape(
            " are answered, as far as the records go, in the supplementary table "
            f"(roster sha256 {study.manifest.roster_sha256[:16]}, roles sha256 "
            f"{study.protocol.roles[study.manifest.name].sha256[:16]})."
        )
    )


COLUMNS = ("balanced_accuracy", "accuracy", "macro_auc")
BY_CLASS = ("recall", "f1", "auc")
LONGEST = 36
MOST_PAIRS = 45
"""Pairs that a page holds."""
SIGNS = {
    "few lesions": r"\dagger",
    "biased": r"\ddagger",
    "percentile": r"\S",
    METHODS["clopper-pearson"]: r"\P",
    "BCa": r"\parallel",
    RARE: r"\ast",
    FOLDS: r"\circ",
    "incomplete": r"\triangle",
    "no interval": r"\diamond",
}
"""A sign of LaTeX's own mathematics for each kind of mark, in their order, the same everywhere."""
OTHER = r"\bullet"
MOST_SPELLED = 4
"""Marks of a kind with numbers of their own, spelled out below a table."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table: its label, caption, column types, headings, and blocks of lines."""

    label: str
    caption: str
    columns: str
    heads: tuple[str, ...]
    blocks: tuple[tuple[tuple[str | Cell, ...], ...], ...]
    stacked: bool = False

    def signs(self, one: Cell) -> Tex:
        """The signs of a cell's marks, raised; nothing where it bears none."""
        return _raised(dict.fromkeys(map(kind_of, one.marks)))

    @property
    def notes(self) -> tuple[Tex, ...]:
        """What the signs of this table mean, in the order of the signs."""
        used: dict[str, list[str]] = {}
        for mark in (mark for one in self._cells() for mark in one.marks):
            found = used.setdefault(kind_of(mark), [])
            if mark not in found:
                found.append(mark)
        order = dict.fromkeys([*SIGNS, *used])
        return tuple(_note(kind, used[kind]) for kind in order if kind in used)

    def _cells(self) -> Iterator[Cell]:
        yield from (
            one for block in self.blocks for line in block for one in line if isinstance(one, Cell)
        )


def _raised(kinds: Iterable[str]) -> Tex:
    found = "".join(SIGNS.get(kind, OTHER) for kind in kinds)
    return Tex(f"$^{{{found}}}$" if found else "")


def _note(kind: str, marks: Sequence[str]) -> Tex:
    """A sign, the marks that it stands for, and what they mean."""
    more = ["and others"] if len(marks) > MOST_SPELLED else []
    told = "; ".join([*marks[:MOST_SPELLED], *more])
    meaning = f": {MARKS[kind]}" if kind in MARKS else "."
    return Tex(_raised([kind]) + " " + escape(f"{told}{meaning}"))


def tables(study: DatasetReport) -> Iterator[PaperTable]:
    """Ranking, classes, pairs, data."""
    yield ranking(study.board)
    yield from (by_class(study.board, key) for key in BY_CLASS if key in study.board.class_metrics)
    if study.board.comparisons:
        yield pairs(study.board)
    yield data(study)


def _how(board: Leaderboard) -> str:
    made = board.interval
    data = " Synthetic data." if board.dataset.synthetic else ""
    return (
        f"In brackets {made.level:.0%} intervals over {made.unit}s "
        f"({count(made.resamples)} resamples).{data}"
    )


def _parted(board: Leaderboard) -> tuple[list[LeaderboardRow], list[LeaderboardRow]]:
    methods = [row for row in board.rows if row.kind != REFERENCE]
    return methods, [row for row in board.rows if row.kind == REFERENCE]


def ranking(board: Leaderboard) -> PaperTable:
    """Rank, method, the primary metric and the usual others."""
    keys = [key for key in metric_order(board) if key in (board.primary, *COLUMNS)]

    def line(row: LeaderboardRow) -> tuple[str | Cell, ...]:
        values = (cell(row.table.metrics.get(key), metric(key), board.interval) for key in keys)
        return (_rank(row), name(row.name, LONGEST).short, *values)

    return PaperTable(
        "ranking",
        f"{name(board.dataset.title).short}, protocol {board.protocol}. {_how(board)} "
        "Rank with its interval over the same resamples; reference rows have learnt nothing.",
        "ll" + "l" * len(keys),
        ("Rank", "Method", *(metric(key).title for key in keys)),
        tuple(tuple(map(line, rows)) for rows in _parted(board) if rows),
        stacked=True,
    )


def _rank(row: LeaderboardRow) -> str:
    rank = row.rank
    if rank.best is None:
        return "\N{EN DASH}"
    return str(rank.best) if rank.low is None else f"{rank.best} [{rank.low}, {rank.high}]"


def by_class(board: Leaderboard, key: str) -> PaperTable:
    """One metric of every row by class."""
    about = metric(key)

    def line(row: LeaderboardRow) -> tuple[str | Cell, ...]:
        found = (row.table.per_class.get(label, {}).get(key) for label in board.classes)
        return (
            name(row.name, LONGEST).short,
            *(cell(one, about, board.interval) for one in found),
        )

    meaning = f" ({about.meaning})" if about.meaning else ""
    return PaperTable(
        f"class-{key.replace('_', '-')}",
        f"{about.title}{meaning} by class. {_how(board)}",
        "l" * (len(board.classes) + 1),
        ("Method", *(name(label, 16).short for label in board.classes)),
        tuple(tuple(map(line, rows)) for rows in _parted(board) if rows),
        stacked=True,
    )


def pairs(board: Leaderboard) -> PaperTable:
    """Differences in the primary metric, with interval, adjusted p and verdict."""
    board, told = shown_pairs(board, MOST_PAIRS)
    lines = []
    for one in board.comparisons:
        if one.metric == board.primary:
            places = decimals(one.low, one.high)
            ends = interval(one.low, one.high, places)
            lines.append(
                (
                    name(one.a, LONGEST).short,
                    name(one.b, LONGEST).short,
                    f"{signed(one.difference, places)} {ends}".strip(),
                    p_value(one.p_adjusted).removeprefix("p ").removeprefix("= ") or "n/a",
                    one.verdict,
                )
            )
    return PaperTable(
        "pairs",
        f"Differences in {metric(board.primary).label}, first minus second, paired. {_how(board)} "
        f"p: corrected resampled t test over folds, adjusted by Holm.{f' {told}' if told else ''}",
        "llrrl",
        ("First", "Second", "Difference", "p", "Verdict"),
        (tuple(lines),),
    )


def data(study: DatasetReport) -> PaperTable:
    """Images, groups and detectable difference of every class."""
    lines = tuple(
        (
            "all (in accuracy)" if row["class"] == "all" else name(str(row["class"]), 24).short,
            count(row["images"]),
            count(row["groups"]),
            fixed(row["detectable"], 3),
        )
        for row in study.detectable.to_dict("records")
    )
    by = study.assumed
    return PaperTable(
        "data",
        f"Tested images and groups by class, and the smallest difference in recall found with "
        f"{by['power']:.0%} power, for methods that differ on {by['disagreement']:.0%} of the "
        f"images, correlated by {by['correlation']:g} within a group.",
        "lrrr",
        ("Class", "Images", "Groups", "Detectable"),
        (lines,),
    )
