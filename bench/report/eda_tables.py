"""Tables and charts of the page of exploratory data analysis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.leaderboard import Association, Leaderboard
from bench.report.charts import (
    ACCENT,
    SOFT,
    WIDTH,
    Bar,
    Drawing,
    Tick,
    class_colours,
    drawing,
    scale_of,
)
from bench.report.format import UNDEFINED, count, decimals, fixed, interval, name, percent, plain
from bench.report.format import p_value as p_text

TITLES = {
    "sex": "Sex",
    "age": "Age, years",
    "localization": "Localization",
    "dx_type": "How the diagnosis was confirmed",
    "source": "Source",
    "sharpness": "Sharpness",
    "brightness": "Brightness, L*",
    "colour_cast": "Colour cast",
    "hair": "Hair, share of the picture",
}
MEASURES = ("sharpness", "brightness", "colour_cast", "hair")


@dataclass(frozen=True)
class EdaReport:
    """What was found out about a dataset.

    pictures  small JPEGs with their image ids: of each class, and those that stand out
    board     classifiers that know no picture, scored as any method
    balance   how the parts of the folds are balanced, by part
    frozen    whether the folds are the protocol's own, or were drawn for this page
    """

    manifest: Dataset
    group_ids: np.ndarray
    quality: pd.DataFrame | None
    pictures: Mapping[str, Sequence[tuple[str, bytes]]]
    associations: Mapping[str, Association]
    board: Leaderboard
    balance: Mapping[str, pd.DataFrame]
    frozen: bool


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


def group_sizes(manifest: Dataset) -> tuple[Grid, ...]:
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


def _size_grid(caption: str, sizes: pd.Series, label: pd.Series, manifest: Dataset) -> Grid:
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


def crossed(manifest: Dataset, key: str) -> Grid:
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


def missing(manifest: Dataset) -> Grid:
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


QUANTILES = {"low": 0.05, "q1": 0.25, "middle": 0.5, "q3": 0.75, "high": 0.95}


def boxes(
    values: pd.Series, by: pd.Series, order: Sequence[str], label: str, *, coloured: bool = True
) -> Drawing:
    """Quartiles as a box, the 5th and 95th percentile as a line, for every category."""
    import altair as alt

    named = {one: name(str(one), 20).short for one in order}
    colours = class_colours(order) if coloured else [ACCENT] * len(order)
    frame = pd.DataFrame({"value": values.to_numpy(), "by": by.to_numpy()}).dropna()
    records = [
        {"by": named[one], "colour": colour}
        | {key: float(own.quantile(share)) for key, share in QUANTILES.items()}
        for one, colour in zip(order, colours, strict=True)
        if len(own := frame.loc[frame["by"] == one, "value"])
    ]
    base = alt.Chart(
        alt.InlineData(values=records), width=WIDTH, height=40 + 22 * len(records)
    ).encode(y=alt.Y("by", type="nominal", sort=list(named.values()), title=None))
    plain = alt.Color("colour", type="nominal", scale=None)
    whiskers = base.mark_rule(color=SOFT).encode(
        x=alt.X("low", type="quantitative", title=None, scale=alt.Scale(zero=False)),
        x2="high",
    )
    box = base.mark_bar(height=11).encode(x=alt.X("q1", type="quantitative"), x2="q3", color=plain)
    middle = base.mark_tick(color="var(--paper)", thickness=2, height=11).encode(
        x=alt.X("middle", type="quantitative")
    )
    return drawing(alt.layer(whiskers, box, middle), label)


# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


SHOWN = 12
PLACES = {"sharpness": 0, "brightness": 1, "colour_cast": 1}
QUARTILES = (0.25, 0.5, 0.75)


def size_grids(quality: pd.DataFrame, manifest: Dataset) -> tuple[Grid, ...]:
    """How many files have which size, the commonest first: by class, and by source if known."""
    return tuple(
        _image_size_grid(quality, kind, parts)
        for kind, parts in _partings(quality, manifest).items()
    )


def quality_grids(quality: pd.DataFrame, manifest: Dataset) -> tuple[Grid, ...]:
    """Median and quartiles of every measure: by class, and by source if known."""
    return tuple(_quality_grid(kind, parts) for kind, parts in _partings(quality, manifest).items())


def pictures_json(quality: pd.DataFrame, manifest: Dataset) -> dict[str, object]:
    """Sizes and quartiles of quality, by class and by source, as plain data."""
    return {
        f"by_{kind}": {
            part: {
                "images": len(own),
                "sizes": {f"{w}x{h}": n for (w, h), n in _sizes(own).items()},
                **{key: own[key].quantile(list(QUARTILES)).tolist() for key in MEASURES},
            }
            for part, own in parts.items()
        }
        for kind, parts in _partings(quality, manifest).items()
    }


def _partings(quality: pd.DataFrame, manifest: Dataset) -> dict[str, Mapping[str, pd.DataFrame]]:
    """The rows of quality by class and by source, `all` of them first; parts without rows not."""
    table = manifest.table.set_index("image_id").loc[quality.index]
    ways = {"class": (table["label"], manifest.classes)}
    if table["source"].notna().any():
        sources = table["source"].fillna("missing")
        ways["source"] = (sources, tuple(sorted(set(sources))))
    return {kind: dict(_parts(quality, by, order)) for kind, (by, order) in ways.items()}


def _parts(
    quality: pd.DataFrame, by: pd.Series, order: tuple[str, ...]
) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all", quality
    for part in order:
        own = quality[by.to_numpy() == part]
        if len(own):
            yield part, own


def _sizes(quality: pd.DataFrame) -> dict[tuple[int, int], int]:
    """Files by (width, height), the commonest first."""
    counts = quality.groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    return dict(zip(counts.index.tolist(), counts.tolist(), strict=True))


def _image_size_grid(quality: pd.DataFrame, kind: str, parts: Mapping[str, pd.DataFrame]) -> Grid:
    every = _sizes(quality)
    by_part = {part: _sizes(own) for part, own in parts.items()}
    commonest = list(every)[:SHOWN]
    wanted = {f"{width} × {height}": [(width, height)] for width, height in commonest}
    if len(every) > SHOWN:
        wanted[f"{len(every) - SHOWN} further sizes"] = list(every)[SHOWN:]
    lines = tuple(
        (
            head,
            *(
                _share(sum(sizes.get(one, 0) for one in of), len(parts[part]))
                for part, sizes in by_part.items()
            ),
        )
        for head, of in wanted.items()
    )
    heads = ("Size", *(name(part, 24).short for part in parts))
    return Grid(f"Pixels of the files, width × height, and share of the {kind}", heads, lines)


def _share(number: int, whole: int) -> str:
    return f"{count(number)} ({percent(number / whole)})" if number else "0"


def _quality_grid(kind: str, parts: Mapping[str, pd.DataFrame]) -> Grid:
    lines = tuple(
        (
            name(part, 24).short,
            count(len(own)),
            *(_quartiles(own[key], places) for key, places in PLACES.items()),
            f"{own['hair'].mean():.2%} ({percent(float((own['hair'] > 0).mean()))})",
        )
        for part, own in parts.items()
    )
    heads = (kind.capitalize(), "Images", *(TITLES[key] for key in PLACES), "Hair")
    caption = (
        f"Median and quartiles by {kind}; of hair, which most pictures lack, the mean share of the "
        "picture (and how many have any)"
    )
    return Grid(caption, heads, lines)


def _quartiles(values: pd.Series, places: int) -> str:
    low, middle, high = (fixed(float(value), places) for value in values.quantile(list(QUARTILES)))
    return f"{middle} [{low}, {high}]"
