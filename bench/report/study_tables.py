"""The tables of the page of data and protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.protocol import PARTS
from bench.report.charts import Bar, Scale, Tick, scale_of
from bench.report.eda_tables import Grid
from bench.report.names import Name, name, plain
from bench.report.numbers import UNDEFINED, count, counted, fixed
from bench.report.palette import swatches
from bench.report.rows import folds_there, kind
from bench.report.study import LEFT_OUT, Study
from bench.report.words import plural

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


def flow(study: Study) -> tuple[Step, ...]:
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


def _joined(study: Study) -> int:
    """Groups that hold several native ones."""
    natives = pd.Series(study.manifest.native_groups).groupby(study.roles.group_ids.astype(str))
    members = natives.nunique()
    return int((members > 1).sum())


def _placed(study: Study, rows: np.ndarray) -> bool:
    return bool((study.roles.parts[rows] > 0).any())


def parts_grid(study: Study) -> Grid:
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


def used_grid(study: Study) -> Grid:
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


def pairs_grid(study: Study) -> Grid | None:
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


def detectable(study: Study) -> Detectable:
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
