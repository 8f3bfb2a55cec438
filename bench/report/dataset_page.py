"""The page of a dataset under a protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.protocol import PARTS
from bench.report import text
from bench.report.charts import Bar, Scale, Tick, scale_of, swatches
from bench.report.dataset_report import LEFT_OUT, DatasetReport
from bench.report.eda_tables import Grid, fold_grid, missing
from bench.report.export import plain_data
from bench.report.format import UNDEFINED, Name, count, counted, fixed, name, plain, said
from bench.report.guidelines import (
    ANSWERED,
    AUTHORS,
    IN_PART,
    Guideline,
    guidelines,
    guidelines_csv,
)
from bench.report.render import render_page
from bench.report.tables import folds_there, kind
from bench.report.text import PageHeader, of_the_data, plural

FEW_GROUPS = 50
SHOWN_PAIRS = 20


@dataclass(frozen=True, slots=True)
class Step:
    """A step from what was found to what is used."""

    title: str
    images: str
    groups: str
    why: str
    out: bool = False


@dataclass(frozen=True, slots=True)
class DetectableLine:
    """What difference in a class would show: drawn and written."""

    name: Name
    swatch: str
    images: str
    groups: str
    few: bool
    icc: str
    effect: str
    order: str
    value: str
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class Detectable:
    """Detectable differences on one axis."""

    lines: tuple[DetectableLine, ...]
    ticks: tuple[Tick, ...]


def flow(study: DatasetReport) -> tuple[Step, ...]:
    """Found, left out and why, used."""
    manifest, unit = study.manifest, plural(study.manifest.unit)
    whole, passed = len(manifest), study.left_out
    found = [Step("Found in the metadata", count(whole + sum(passed.values())), "", "rows")]
    found += [
        Step("Left out", count(number), "", title, out=True) for title, number in passed.items()
    ]
    found.append(
        Step("Labelled images", count(whole), count(study.native_groups), f"grouped by {unit}")
    )
    joined = study.native_groups - study.groups
    if joined:
        pairs = len(study.pairs.frozen)
        why = f"{counted(pairs, 'pair')} of duplicates join {count(joined + _joined(study))} {unit}"
        into = f" into {count(_joined(study))}; nothing is removed"
        found.append(Step("Groups united", count(whole), count(study.groups), why + into))
    if manifest.ungrouped:
        why = "neither patient, lesion nor group id: each is a group of its own"
        found.append(Step("Of them without a group", count(manifest.ungrouped), "", why))
    tested = study.tested
    rest = ~tested
    if rest.any():
        why = "in training or validation parts only" if _placed(study, rest) else "in no part"
        groups = count(len(set(study.roles.group_ids[rest].tolist())))
        found.append(Step("Never tested", count(rest.sum()), groups, why, out=True))
    groups = count(len(set(study.roles.group_ids[tested].tolist())))
    times = study.protocol.split.repeats
    again = f"once in each of {times} repeats" if times > 1 else "once"
    again = f"{again} in every arm" if study.protocol.split.arms else again
    found.append(Step("Tested", count(tested.sum()), groups, again))
    return tuple(found)


def _joined(study: DatasetReport) -> int:
    """Groups that hold several native ones."""
    natives = pd.Series(study.manifest.native_groups).groupby(study.roles.group_ids.astype(str))
    members = natives.nunique()
    return int((members > 1).sum())


def _placed(study: DatasetReport, rows: np.ndarray) -> bool:
    return bool((study.roles.parts[rows] > 0).any())


def parts_grid(study: DatasetReport) -> Grid:
    """Images and groups of every part of every fold, and what is left out of it."""
    lines = []
    for column in range(study.roles.columns):
        cells = [study.size(column, part) for part in (*PARTS[1:], PARTS[0])]
        told = [f"{count(images)} ({count(groups)})" if images else "0" for images, groups in cells]
        lines.append((study.fold_name(column), *told))
    why = LEFT_OUT.get(study.protocol.split.kind, "")
    reason = f" Left out: {why}." if why else ""
    return Grid(
        f"Images (groups) of every fold.{reason}",
        ("Fold", "Train", "Validation", "Test", "Left out"),
        tuple(lines),
    )


def used_grid(study: DatasetReport) -> Grid:
    """What every row of the leaderboard was scored on."""
    board = study.board
    lines = tuple(
        (
            name(row.name).short,
            kind(row),
            count(len(row.seeds)),
            ", ".join(filter(None, folds_there(board, row))),
            count(row.table.metrics[board.primary].n),
            "complete" if row.complete else "incomplete, not ranked",
        )
        for row in board.rows
    )
    heads = ("Row", "Kind", "Seeds", "Folds", "Images scored", "State")
    return Grid("What every row was scored on", heads, lines, words=(1, 5))


def pairs_grid(study: DatasetReport) -> Grid | None:
    """Known duplicates that the roles leave apart, and where they face each other."""
    later = study.pairs.later
    if later.empty:
        return None
    row_of = {image_id: row for row, image_id in enumerate(study.roles.image_ids.tolist())}
    label = dict(zip(study.manifest.image_ids, study.manifest.table["label"], strict=True))
    lines = []
    for pair in later.head(SHOWN_PAIRS).to_dict("records"):
        one, two = str(pair["image_a"]), str(pair["image_b"])
        parts = [study.roles.parts[row_of[image_id]] for image_id in (one, two)]
        facing = int(((parts[0] != parts[1]) & (parts[0] > 0) & (parts[1] > 0)).sum())
        lines.append(
            (
                f"{plain(one)}, {plain(two)}",
                f"{plain(str(label[one]))}, {plain(str(label[two]))}",
                plain(str(pair.get("verdict", ""))),
                f"{facing} of {study.roles.columns}",
            )
        )
    heads = ("Images", "Labels", "Verdict", "Folds with them on two sides")
    more = f"; the first {SHOWN_PAIRS} of {count(len(later))}" if len(later) > SHOWN_PAIRS else ""
    caption = f"Pairs found after the roles were frozen{more}"
    return Grid(caption, heads, tuple(lines), words=(1, 2))


def detectable(study: DatasetReport) -> Detectable:
    """By class, the smallest difference that would show."""
    table = study.detectable
    scale = scale_of([0.0, *table["detectable"]], (0.0, 1.0))
    swatch = dict(zip(study.manifest.classes, swatches(study.manifest.classes), strict=True))
    lines = tuple(_line(row, scale, swatch) for row in table.to_dict("records"))
    return Detectable(lines, scale.ticks)


def _line(row: Mapping[Any, Any], scale: Scale, swatch: Mapping[str, str]) -> DetectableLine:
    label, value, icc, groups = (row[key] for key in ("class", "detectable", "icc", "groups"))
    return DetectableLine(
        name=name("all classes, in accuracy" if label not in swatch else label, 24),
        swatch=swatch.get(label, ""),
        images=count(row["images"]),
        groups=count(groups),
        few=groups < FEW_GROUPS,
        icc=UNDEFINED if math.isnan(icc) else fixed(icc, 2),
        effect=fixed(row["design_effect"], 2),
        order="" if math.isnan(value) else f"{value:.6g}",
        value=fixed(value, 3),
        bar=None if math.isnan(value) else Bar(scale.at(value), scale.at(0.0), scale.at(value)),
    )


NAME = "dataset"
FILES = (
    (f"{NAME}.json", "everything on this page"),
    (f"{NAME}_guidelines.csv", "the items of the guidelines, with a column for your own words"),
)


@dataclass(frozen=True, slots=True)
class StudyPage(PageHeader):
    """The page, ready to be laid out."""

    flow: tuple[Step, ...]
    parts: Grid
    used: Grid
    balance: tuple[Grid, ...]
    missing: Grid
    duplicates: tuple[str, ...]
    pairs: Grid | None
    proven: tuple[str, ...]
    detectable: Detectable
    assumed: str
    guidelines: tuple[Guideline, ...]
    states: tuple[str, str, str]
    files: tuple[tuple[str, str], ...]


def study_page(study: DatasetReport) -> StudyPage:
    """Everything the page says and draws."""
    board = study.board
    return StudyPage(
        title=f"{'Synthetic data: ' if study.manifest.synthetic else ''}"
        f"{said(study.manifest.title)}, {plain(study.protocol.name)}: data and protocol",
        kicker=" · ".join(
            ("Data and protocol", said(study.manifest.title), plain(study.protocol.name))
        ),
        heading=text.protocol_title(study.protocol.title, study.manifest.unit),
        headline=_headline(study),
        standfirst=_standfirst(study),
        data=of_the_data(board),
        flow=flow(study),
        parts=parts_grid(study),
        used=used_grid(study),
        balance=tuple(fold_grid(part, table) for part, table in study.balance.items()),
        missing=missing(study.manifest),
        duplicates=_duplicates(study),
        pairs=pairs_grid(study),
        proven=tuple(plain(f"{one[:1].upper()}{one[1:]}") for one in study.proven),
        detectable=detectable(study),
        assumed=_assumed(study),
        guidelines=guidelines(study),
        states=(ANSWERED, IN_PART, AUTHORS),
        files=FILES,
    )


def _headline(study: DatasetReport) -> str:
    images = "synthetic images" if study.manifest.synthetic else "images"
    unit = "" if study.manifest.unit == "image" else f" of {count(study.groups)} groups"
    tested = int(study.tested.sum())
    whole = len(study.manifest)
    part = "all of them" if tested == whole else f"{count(tested)} of them"
    how = (
        "tested. A control: groups are divided on purpose."
        if study.protocol.split.control
        else "tested, with no known group on two sides of a fold."
    )
    return f"{count(whole)} {images}{unit}; {part} {how}"


def _standfirst(study: DatasetReport) -> tuple[str, ...]:
    off = max(
        (
            float(table.loc[table["attribute"] == "class", "deviation"].max())
            for part, table in study.balance.items()
            if part == "test"
        ),
        default=float("nan"),
    )
    told = []
    if off == off:  # noqa: PLR0124 - not NaN
        told.append(f"The test parts hold every class within {off * 100:.1f}% of an equal share.")
    told += open_pairs(study)
    lines = study.detectable.set_index("class")["detectable"]
    if "all" in lines:
        told.append(
            f"A difference of {lines['all'] * 100:.1f} points of accuracy between two methods "
            "would show; by class it takes more."
        )
    return tuple(told)


def _duplicates(study: DatasetReport) -> tuple[str, ...]:
    frozen = len(study.pairs.frozen)
    joined = study.native_groups - study.groups
    unit = text.plural(study.manifest.unit)
    if not frozen:
        first = (
            "No list of duplicates is known for this dataset: none was looked for, or none found."
        )
    else:
        first = (
            f"{counted(frozen, 'pair')} of images that cross {unit} were known before the roles "
            "were frozen."
        )
    united = (
        f"{count(study.native_groups)} {unit} make {count(study.groups)} groups: both images of a "
        "pair stand on one side of every fold."
        if joined
        else f"The roles unite none: each of the {count(study.groups)} groups is one "
        f"{plain(study.manifest.unit)}."
    )
    return (first, united, *open_pairs(study))


def open_pairs(study: DatasetReport) -> list[str]:
    """The pairs of one lesion that are known by now and that the frozen roles do not unite."""
    later = len(study.pairs.later)
    stand = "stands" if later == 1 else "stand"
    told = (
        f"{counted(later, 'pair')} of images found since to show one lesion {stand} in two groups "
        "still, for frozen roles never change."
    )
    return [told] if later else []


def _assumed(study: DatasetReport) -> str:
    by = study.assumed
    return (
        f"The smallest true difference between two methods on the same images that the paired "
        f"{by['level']:.0%} interval finds with {by['power']:.0%} power, if they differ on "
        f"{by['disagreement']:.0%} of the images and their differences correlate by "
        f"{by['correlation']:g} within a group. Normal approximation; conditional on the trained "
        "models. ICC: how far images of one group are of one class."
    )


def study_json(study: DatasetReport, page: StudyPage) -> str:
    """Everything on the page for programs: strict JSON, an undefined value is null."""
    content = {
        "protocol": study.protocol.name,
        "dataset": study.manifest.name,
        "roster_sha256": study.manifest.roster_sha256,
        "roles_sha256": study.protocol.roles[study.manifest.name].sha256,
        "synthetic": study.manifest.synthetic,
        "unit": study.manifest.unit,
        "images": len(study.manifest),
        "native_groups": study.native_groups,
        "groups": study.groups,
        "left_out": dict(study.left_out),
        "folds": [
            {
                "name": study.fold_name(column),
                **{
                    part or "left out": dict(
                        zip(("images", "groups"), study.size(column, part), strict=True)
                    )
                    for part in ("train", "val", "test", "")
                },
            }
            for column in range(study.roles.columns)
        ],
        "balance": {part: table.to_dict("records") for part, table in study.balance.items()},
        "duplicates": {
            "known_before": study.pairs.frozen.to_dict("records"),
            "found_since": study.pairs.later.to_dict("records"),
        },
        "proven": list(study.proven),
        "detectable": {
            "assumed": dict(study.assumed),
            "by_class": study.detectable.to_dict("records"),
        },
        "guidelines": [
            asdict(one) | {"items": [asdict(item) | {"state": item.state} for item in one.items]}
            for one in page.guidelines
        ],
    }
    return json.dumps(plain_data(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_study(study: DatasetReport, home: str = "") -> Mapping[str, str]:
    """The files of the page, by name. home: address of the site's index, if it stands in one."""
    page = study_page(study)
    return {
        f"{NAME}.html": render_page("dataset.html.j2", page=page, home=home),
        f"{NAME}.json": study_json(study, page),
        f"{NAME}_guidelines.csv": guidelines_csv(page.guidelines),
    }
