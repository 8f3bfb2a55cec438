"""The tables of the EDA page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.estimates import Association
from bench.manifest import Manifest
from bench.report.charts import Bar, Tick, scale_of
from bench.report.explored import TITLES
from bench.report.names import name, plain
from bench.report.numbers import UNDEFINED, count, decimals, fixed, interval, percent
from bench.report.numbers import p_value as p_text

SIZES = (1, 2, 3)
SHADES = 9
WIDEST = 10
"""Folds that a table shows one by one; of more, the fewest and the most."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A plain table: headings, and lines of cells, the first of each the line's own heading.

    words  places of the columns that hold words; the others hold numbers
    """

    caption: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    shades: tuple[tuple[int, ...], ...] = ()
    words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Strength:
    """An attribute's association with the classes, drawn and written."""

    title: str
    measure: str
    order: str
    value: str
    interval: str
    bar: Bar | None
    chance: str
    chance_at: str
    p: str
    n: str


@dataclass(frozen=True, slots=True)
class Strengths:
    """Associations on one axis."""

    id: str
    lines: tuple[Strength, ...]
    ticks: tuple[Tick, ...]


def strengths(axis: str, found: Sequence[Association]) -> Strengths:
    """Associations, drawn on one axis."""
    ends = [e for one in found for e in (one.estimate.value, one.estimate.high, one.chance)]
    scale = scale_of([0.0, *ends], (0.0, 1.0))

    def line(one: Association) -> Strength:
        value = one.estimate
        places = max(2, decimals(value.low, value.high, value.n))
        base, _, further = one.name.partition(" ")
        title = TITLES.get(base, base) + (f" {further}" if further else "")
        undefined = math.isnan(value.value)
        return Strength(
            title=plain(title),
            measure=one.measure,
            order="" if undefined else f"{value.value:.6g}",
            value=fixed(value.value, places),
            interval=("one value only" if value.n else "no value")
            if undefined
            else interval(value.low, value.high, places) or "no interval",
            bar=scale.bar(value),
            chance=fixed(one.chance, max(places, 2)),
            chance_at=scale.at(one.chance),
            p=p_text(one.p_adjusted) or UNDEFINED,
            n=f"{count(value.n)} in {count(one.groups)}",
        )

    return Strengths(axis, tuple(map(line, found)), scale.ticks)


def group_sizes(manifest: Manifest) -> tuple[Grid, ...]:
    """How many images a lesion has and, where there are patients, how many lesions a patient."""
    table = manifest.table
    grids = []
    lesions = table.dropna(subset=["lesion_id"])
    if len(lesions):
        sizes = lesions.groupby("lesion_id").size()
        label = lesions.drop_duplicates("lesion_id").set_index("lesion_id")["label"]
        grids.append(
            _size_grid("Lesions of each class by number of images", sizes, label, manifest)
        )
    patients = table.dropna(subset=["patient_id"])
    if len(patients):
        what = "lesion_id" if len(lesions) else "image_id"
        worn = patients.groupby(["label", "patient_id"])[what].nunique()
        label = pd.Series(worn.index.get_level_values("label"), index=worn.index)
        noun = "lesions" if len(lesions) else "images"
        grids.append(
            _size_grid(f"Patients with a class by their {noun} of it", worn, label, manifest)
        )
    return tuple(grids)


def _size_grid(caption: str, sizes: pd.Series, label: pd.Series, manifest: Manifest) -> Grid:
    over = SIZES[-1] + 1
    lines = []
    for one in (*manifest.classes, None):
        own = sizes if one is None else sizes[label.reindex(sizes.index).to_numpy() == one]
        if not len(own):
            continue
        numbers = [int((own == size).sum()) for size in SIZES] + [int((own >= over).sum())]
        head = "all" if one is None else name(one, 24).short
        lines.append((head, *map(count, numbers), count(own.max()), fixed(float(own.mean()), 2)))
    return Grid(
        caption, ("Class", *map(str, SIZES), f"{over} or more", "Most", "Mean"), tuple(lines)
    )


def crossed(manifest: Manifest, key: str) -> Grid:
    """Images by value and class, as counts with the share of the class, shaded by it."""
    values = manifest.table[key].fillna("missing").astype(str)
    table = pd.crosstab(values, manifest.table["label"]).reindex(
        columns=list(manifest.classes), fill_value=0
    )
    table = table.loc[table.sum(axis=1).sort_values(ascending=False).index]
    whole = table.sum(axis=0).replace(0, np.nan)
    shares = (table / whole).to_numpy(dtype=np.float64)
    lines = tuple(
        (
            name(str(value)).short,
            *(f"{count(n)} ({percent(s)})" for n, s in zip(row, share, strict=True)),
        )
        for value, row, share in zip(table.index, table.to_numpy(), shares, strict=True)
    )
    shades = tuple(
        tuple(0 if math.isnan(s) else math.ceil(s * SHADES) for s in row) for row in shares
    )
    heads = (TITLES[key], *(name(label, 24).short for label in manifest.classes))
    return Grid(f"{TITLES[key]}: images, and their share of the class", heads, lines, shades)


def missing(manifest: Manifest) -> Grid:
    """What is missing of each column, and of each class."""
    table = manifest.table
    columns = ("patient_id", "lesion_id", "age", "sex", "localization", "dx_type", "source")
    gaps = table[list(columns)].isna()
    by_class = gaps.groupby(table["label"]).mean()
    lines = tuple(
        (
            TITLES.get(column, column.replace("_", " ").capitalize()),
            count(gaps[column].sum()),
            percent(float(gaps[column].mean())),
            *(percent(float(by_class[column].get(label, math.nan))) for label in manifest.classes),
        )
        for column in columns
    )
    heads = ("Column", "Images", "Share", *(name(label, 24).short for label in manifest.classes))
    return Grid("Images without a value, and their share of each class", heads, lines)


def fold_grid(part: str, table: pd.DataFrame) -> Grid:
    """How evenly one part of the folds holds every attribute."""
    folds = sum(1 for column in table.columns if str(column).startswith("images")) - 1
    lines = tuple(
        (
            f"{row['attribute']}: {name(str(row['value'])).short}",
            count(row["images"]),
            *_over_folds(row, folds),
            UNDEFINED if math.isnan(row["deviation"]) else f"{row['deviation'] * 100:.1f}%",
        )
        for row in table.to_dict("records")
    )
    over = [f"Fold {fold}" for fold in range(folds)] if folds <= WIDEST else ["Fewest", "Most"]
    inside = " (groups)" if folds <= WIDEST else f" over {folds} folds"
    return Grid(f"Images{inside} of the {part} part", ("Value", "All", *over, "Off by"), lines)


def _over_folds(row: Mapping[Any, Any], folds: int) -> list[str]:
    """Images with groups in each fold; of many folds the fewest and the most images."""
    images = [row[f"images{fold}"] for fold in range(folds)]
    if folds > WIDEST:
        return [count(min(images)), count(max(images))]
    groups = [row[f"groups{fold}"] for fold in range(folds)]
    return [f"{count(n)} ({count(g)})" for n, g in zip(images, groups, strict=True)]
