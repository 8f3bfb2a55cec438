"""Reporting guidelines: items answered from the records.

`reports/guidelines/*.toml` hold the items, `reports/guidelines/answers.j2` the answers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from bench.io import text_cell
from bench.leaderboard import LeaderboardRow
from bench.recipe import Recipe
from bench.report.dataset_report import LEFT_OUT, DatasetReport
from bench.report.export import as_csv
from bench.report.format import count, counted, listed, percent, plain, said
from bench.report.render import environment
from bench.report.row_page import IMAGE_OPTIONS
from bench.report.tables import method_name, spelled
from bench.report.text import plural
from bench.settings import REPORTS

if TYPE_CHECKING:
    from jinja2 import Template

FILES = ("stard_ai", "tripod_ai", "clear_derm")
ANSWERED, IN_PART, AUTHORS = "answered", "in part", "yours to fill"
MOST = 12
"""Maximum number of sources or kinds of confirmation that an answer lists."""
SOFTWARE = ("python", "torch", "timm", "numpy", "scikit-learn", "device")
IMBALANCE_OPTIONS = (
    "sampler",
    "sampler_power",
    "rare_augment",
    "class_weight_power",
    "class_weight_beta",
    "class_weight_from",
    "class_loss_scale",
    "logit_adjustment",
    "loss",
)
"""Recipe options against class imbalance."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a guideline.

    answer  the answer from the records, "" for none
    fill    the part that only the authors know, "" for none
    """

    number: str
    topic: str
    answer: str
    fill: str

    @property
    def state(self) -> str:
        """ANSWERED, IN_PART or AUTHORS."""
        if not self.answer:
            return AUTHORS
        return IN_PART if self.fill else ANSWERED


@dataclass(frozen=True, slots=True)
class Guideline:
    """A guideline with its items, in its order."""

    id: str
    name: str
    about: str
    year: int
    doi: str
    cite: str
    items: tuple[Item, ...]

    def count(self, state: str) -> int:
        """Number of items in a state."""
        return sum(item.state == state for item in self.items)


@cache
def read_guideline(file: str) -> Mapping[str, Any]:
    """A guideline as its TOML file has it."""
    path = REPORTS / "guidelines" / f"{file}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def answer_template() -> Template:
    """The template of the answers. It makes plain text; a page escapes it later."""
    text = environment().overlay(autoescape=False, trim_blocks=False)
    return text.get_template("guidelines/answers.j2")


def guidelines(report: DatasetReport) -> tuple[Guideline, ...]:
    """Every guideline, its items answered as far as the records allow."""
    template = answer_template()
    context = template.new_context(_context(report))
    answers = {
        key: " ".join("".join(block(context)).split()) for key, block in template.blocks.items()
    }
    every = []
    for file in FILES:
        content = read_guideline(file)
        items = tuple(_item(item, answers) for item in content["item"])
        about = {key: content[key] for key in ("name", "about", "year", "doi", "cite")}
        every.append(Guideline(id=file.replace("_", "-"), items=items, **about))
    return tuple(every)


def _item(item: Mapping[str, str], answers: Mapping[str, str]) -> Item:
    answer = answers[item["answer"]] if "answer" in item else ""
    fill = item.get("fill", "") or ("" if answer else "The records do not contain it.")
    return Item(item["number"], item["topic"], answer, fill)


def guidelines_csv(every: Sequence[Guideline]) -> str:
    """One line per item, with an empty column for the text of the authors."""
    lines = [["guideline", "item", "topic", "state", "from_the_records", "to_fill", "authors"]]
    lines += [
        [
            *(one.name, item.number, item.topic, item.state),
            *(text_cell(item.answer), text_cell(item.fill), ""),
        ]
        for one in every
        for item in one.items
    ]
    return as_csv(lines)


def _context(report: DatasetReport) -> dict[str, Any]:
    """What the answers use: the report, parts of it by a short name, and what is computed here."""
    board, dataset, protocol, table = (
        report.board,
        report.manifest,
        report.protocol,
        report.manifest.table,
    )
    roles = protocol.roles.get(dataset.name)
    attributes = ("age", "sex", "localization", "source")
    commits = {row.facts.environment.get("commit", "") for row in report.trained} - {""}
    detectable = report.detectable.set_index("class")["detectable"]
    return {
        "report": report,
        "board": board,
        "dataset": dataset,
        "protocol": protocol,
        "split": protocol.split,
        "facts": board.dataset,
        "most": MOST,
        "unit": dataset.unit,
        "units": plural(dataset.unit),
        "licence": plain(dataset.licence) or "not stated",
        "roles": roles,
        "roles_file": "/".join(PurePath(roles.file).parts[-2:]) if roles else "",
        "by_source": protocol.split.kind == "source-holdout",
        "why_left_out": LEFT_OUT.get(protocol.split.kind),
        "images": len(dataset),
        "tested": int(report.tested.sum()),
        "sources": _counts(table["source"].dropna()),
        "confirmed": _counts(table["dx_type"].fillna("not stated")),
        "malignant": table[table["label"].isin(dataset.malignant)],
        "known_people": _people(report),
        "gaps": {
            key: n for key in ("age", "sex", "localization") if (n := int(table[key].isna().sum()))
        },
        "sizes": [_sizes(report, part) for part in ("train", "val", "test")],
        "detectable": detectable.drop("all", errors="ignore"),
        "methods": _methods(report),
        "no_rows": "No method has been run yet.",
        "software": _software(report),
        "image_options": _image_options(report),
        "imbalance": [(row.name, _imbalance(row)) for row in report.trained],
        "seeds": max((len(row.seeds) for row in board.rows), default=1),
        "attributes": [key for key in attributes if table[key].notna().any()],
        "leader": board.leader,
        "leader_value": board.primary_text(board.leader) if board.leader else "",
        "commits": [plain(commit)[:12] for commit in sorted(commits)],
        "method_name": method_name,
        "names": lambda values: listed([said(value) for value in values]),
    }


def _counts(values: Any) -> list[tuple[str, int]]:
    return [(str(value), n) for value, n in values.value_counts().items()]


def _people(report: DatasetReport) -> list[str]:
    """Age and sex over the images with a known value."""
    table, texts = report.manifest.table, []
    if table["age"].notna().any():
        low, middle, high = table["age"].quantile([0.25, 0.5, 0.75])
        texts.append(f"median age {middle:.0f} (quartiles {low:.0f} and {high:.0f})")
    known = table["sex"].dropna()
    return texts + [f"{said(sex)} {percent(n / len(known))}" for sex, n in _counts(known)[:MOST]]


def _sizes(report: DatasetReport, part: str) -> tuple[str, str, str]:
    """The part, and the range of its images and of its groups over the folds."""
    sizes = [report.size(column, part) for column in range(report.roles.columns)]
    images, groups = (
        count(min(numbers)) + (f" to {count(max(numbers))}" if len(set(numbers)) > 1 else "")
        for numbers in zip(*sizes, strict=True)
    )
    return part, images, groups


def _methods(report: DatasetReport) -> str:
    """Numbers of rows by kind; "" without one."""
    kinds = (
        (len(report.trained), "{} trained by this bench"),
        (len(report.submitted), "{} submitted, their training not verified"),
    )
    texts = [text.format(count(n)) for n, text in kinds if n]
    if report.ensembles:
        joined = f"{counted(len(report.ensembles), 'ensemble')} of them, with weights chosen on val"
        texts.insert(bool(report.trained), joined)
    return listed(texts) if texts else ""


def _software(report: DatasetReport) -> list[str]:
    every = []
    for key in SOFTWARE:
        versions = {plain(row.facts.environment.get(key, "")) for row in report.trained} - {""}
        if versions:
            every.append(f"{key} {' or '.join(sorted(versions))}")
    return every


def _image_options(report: DatasetReport) -> dict[str, list[str]]:
    """Names of the trained rows by their options of image preparation."""
    rows: dict[str, list[str]] = {}
    for row in report.trained:
        options = ", ".join(
            f"{key} {spelled(row.facts.recipe[key])}"
            for key in IMAGE_OPTIONS
            if row.facts.recipe.get(key) not in (None, False)
        )
        if options:
            rows.setdefault(options, []).append(row.name)
    return rows


def _imbalance(row: LeaderboardRow) -> str:
    recipe, default = row.facts.recipe, Recipe().model_dump()
    keys = [key for key in IMBALANCE_OPTIONS if key in recipe and recipe[key] != default[key]]
    return spelled({key: recipe[key] for key in keys}) or "nothing"
