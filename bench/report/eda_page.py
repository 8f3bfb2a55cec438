"""The page of exploratory data analysis; its sentences are in `reports/eda.html.j2`."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.leaderboard import REFERENCE, Association, Leaderboard
from bench.leaderboard.estimate import plain_data
from bench.report.charts import (
    ACCENT,
    SOFT,
    WIDTH,
    Drawing,
    Scale,
    class_colours,
    drawing,
    scale_of,
)
from bench.report.format import UNDEFINED, count, fixed, name, percent, plain, said
from bench.report.tables import cell
from bench.report.text import of_the_data

TITLES = {
    "sex": "Sex",
    "age": "Age, years",
    "localization": "Localization",
    "dx_type": "Confirmation of the diagnosis",
    "source": "Source",
    "sharpness": "Sharpness",
    "brightness": "Brightness, L*",
    "colour_cast": "Colour cast",
    "hair": "Hair, share of the image",
}
MEASURES = ("sharpness", "brightness", "colour_cast", "hair")
PLACES = {"sharpness": 0, "brightness": 1, "colour_cast": 1}
CATEGORICAL = ("sex", "localization", "dx_type", "source")
NULLABLE = ("patient_id", "lesion_id", "age", "sex", "localization", "dx_type", "source")
METRICS = ("macro_f1", "balanced_accuracy", "macro_auc")
SIGNIFICANT = 0.05
GROUP_SIZES = (1, 2, 3)
SHADES = 9
MOST_FOLDS = 10
"""Up to this number of folds, a table lists every fold; with more, the minimum and the maximum."""
MOST_SIZES = 12
QUARTILES = (0.25, 0.5, 0.75)
BOX = {"low": 0.05, "q1": 0.25, "middle": 0.5, "q3": 0.75, "high": 0.95}


@dataclass(frozen=True)
class EdaReport:
    """The exploration of a dataset.

    pictures  small JPEGs with their image ids: of each class, and extremes of each quality measure
    board     classifiers that use metadata or image quality only, scored like any method
    balance   the balance of the folds, by part
    frozen    whether the folds are the protocol's, or were assigned for this page
    """

    manifest: Dataset
    group_ids: np.ndarray
    quality: pd.DataFrame | None
    pictures: Mapping[str, Sequence[tuple[str, bytes]]]
    associations: Mapping[str, Association]
    board: Leaderboard
    balance: Mapping[str, pd.DataFrame]
    frozen: bool


class Gallery(NamedTuple):
    """Images in a row: data URI and text of each."""

    title: str
    pictures: tuple[tuple[str, str], ...]


class Grid(NamedTuple):
    """A table of text: headings, and lines of cells; the first cell is the heading of its line.

    words  positions of the columns that hold words; the others hold numbers
    """

    caption: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    shades: tuple[tuple[int, ...], ...] = ()
    words: tuple[int, ...] = ()


class Strengths(NamedTuple):
    """Associations on one axis, each with its title."""

    id: str
    associations: tuple[tuple[str, Association], ...]
    scale: Scale


def eda_page(report: EdaReport) -> dict[str, Any]:
    """Everything that the template of the page reads."""
    board, dataset, quality = report.board, report.manifest, report.quality
    table = dataset.table
    associations = report.associations
    of_images = [one for key, one in associations.items() if key.split(" ")[0] in MEASURES]
    of_metadata = [one for one in associations.values() if one not in of_images]
    informed = [row for row in board.rows if row.kind != REFERENCE]
    return {
        "report": report,
        "board": board,
        "dataset": dataset,
        "groups": len(set(report.group_ids.tolist())),
        "title": f"{'Synthetic data: ' if dataset.synthetic else ''}{said(dataset.title)}, EDA",
        "kicker": f"Exploration · {said(dataset.title)} · {plain(board.protocol)}",
        "heading": "Exploratory data analysis",
        "data": of_the_data(board),
        # by AUC: it does not depend on a threshold
        "best": max(informed, key=lambda row: row.table.metrics["macro_auc"].value, default=None),
        "significant": [
            attribute_title(one.name).split(",")[0].lower()
            for one in associations.values()
            if "missing" not in one.name and " by " not in one.name
            if one.p_adjusted < SIGNIFICANT
        ],
        "group_sizes": group_size_grids(dataset),
        "galleries": [gallery_of(report, key) for key in dataset.classes if key in report.pictures],
        "extremes": [
            gallery_of(report, key) for key in report.pictures if key not in dataset.classes
        ],
        "sizes": () if quality is None else size_grids(quality, dataset),
        "quality_tables": () if quality is None else quality_grids(quality, dataset),
        "quality": strengths("quality-axis", of_images) if of_images else None,
        "quality_by_class": _quality_boxes(quality, table["label"], dataset.classes),
        "quality_by_source": _quality_boxes(quality, table["source"], None),
        "metadata": strengths("metadata-axis", of_metadata),
        "ages": boxes(table["age"], table["label"], dataset.classes, "Age in years by class")
        if table["age"].notna().any()
        else None,
        "crossed": [crossed(dataset, key) for key in CATEGORICAL if table[key].notna().any()],
        "missing": missing_grid(dataset),
        "metrics": METRICS,
        "cell": cell,
        "folds": [fold_grid(part, balance) for part, balance in report.balance.items()],
    }


def eda_json(report: EdaReport) -> str:
    """The numbers of the page: associations, classifiers, class counts."""
    facts, quality = report.board.dataset, report.quality
    content = {
        "dataset": facts.name,
        "roster_sha256": facts.roster_sha256,
        "synthetic": facts.synthetic,
        "protocol": report.board.protocol,
        "folds_frozen": report.frozen,
        "images_by_class": dict(facts.images_by_class),
        "groups_by_class": dict(facts.groups_by_class),
        "pictures_measured": 0 if quality is None else len(quality),
        "pictures": None if quality is None else quality_data(quality, report.manifest),
        "associations": [asdict(one) for one in report.associations.values()],
        "without_pictures": {
            row.name: {key: asdict(value) for key, value in row.table.metrics.items()}
            for row in report.board.rows
        },
    }
    return json.dumps(plain_data(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def gallery(key: str, pictures: Sequence[tuple[str, bytes]], labels: Mapping[str, str]) -> Gallery:
    """Small JPEGs with their image ids and labels, for a page."""
    shown = tuple(
        (
            f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}",
            f"{name(image_id).short}, {name(str(labels[image_id]), 24).short}",
        )
        for image_id, jpeg in pictures
    )
    return Gallery(name(key.replace("_", " "), 24).short, shown)


def gallery_of(report: EdaReport, key: str) -> Gallery:
    """The images of a class or of an extreme."""
    dataset = report.manifest
    labels = dict(zip(dataset.image_ids, dataset.table["label"], strict=True))
    return gallery(key, report.pictures[key], labels)


# --- associations ---------------------------------------------------------------------------------


def attribute_title(attribute: str) -> str:
    """Title of an attribute, for example of `age missing`."""
    base, _, rest = attribute.partition(" ")
    return plain(TITLES.get(base, base) + (f" {rest}" if rest else ""))


def strengths(axis: str, associations: Sequence[Association]) -> Strengths:
    """Associations on one axis."""
    ends = [e for one in associations for e in (one.estimate.value, one.estimate.high, one.chance)]
    titled = tuple((attribute_title(one.name), one) for one in associations)
    return Strengths(axis, titled, scale_of([0.0, *ends], (0.0, 1.0)))


# --- tables of the metadata -----------------------------------------------------------------------


def group_size_grids(dataset: Dataset) -> list[Grid]:
    """Number of images per lesion and, with patient ids, of lesions per patient."""
    grids = []
    lesions = dataset.table.dropna(subset=["lesion_id"])
    if len(lesions):
        sizes = lesions.groupby("lesion_id").size()
        label = lesions.drop_duplicates("lesion_id").set_index("lesion_id")["label"]
        caption = "Lesions of each class by number of images"
        grids.append(_group_size_grid(caption, sizes, label, dataset))
    patients = dataset.table.dropna(subset=["patient_id"])
    if len(patients):
        column, noun = ("lesion_id", "lesions") if len(lesions) else ("image_id", "images")
        sizes = patients.groupby(["label", "patient_id"])[column].nunique()
        label = pd.Series(sizes.index.get_level_values("label"), index=sizes.index)
        every = patients.groupby("patient_id")[column].nunique()
        caption = f"Patients with a class by their number of {noun} of it; all: of any class"
        grids.append(_group_size_grid(caption, sizes, label, dataset, every))
    return grids


def _group_size_grid(
    caption: str,
    sizes: pd.Series,
    label: pd.Series,
    dataset: Dataset,
    every: pd.Series | None = None,
) -> Grid:
    """Classes by size of their groups; `every` are the sizes of the line of all classes."""
    over = GROUP_SIZES[-1] + 1
    labels = label.reindex(sizes.index).to_numpy()
    parts = [(name(one, 24).short, sizes[labels == one]) for one in dataset.classes]
    lines = tuple(
        (
            head,
            *(count((part == size).sum()) for size in GROUP_SIZES),
            count((part >= over).sum()),
            count(part.max()),
            fixed(float(part.mean()), 2),
        )
        for head, part in (*parts, ("all", sizes if every is None else every))
        if len(part)
    )
    heads = ("Class", *map(str, GROUP_SIZES), f"{over} or more", "Maximum", "Mean")
    return Grid(caption, heads, lines)


def crossed(dataset: Dataset, key: str) -> Grid:
    """Images by value and class: counts with the share of the class, shaded by it."""
    values = dataset.table[key].fillna("missing").astype(str)
    table = pd.crosstab(values, dataset.table["label"]).reindex(
        columns=list(dataset.classes), fill_value=0
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
    heads = (TITLES[key], *(name(label, 24).short for label in dataset.classes))
    return Grid(f"{TITLES[key]}: images, and share of the class", heads, lines, shades)


def missing_grid(dataset: Dataset) -> Grid:
    """Missing values of each column, overall and by class."""
    gaps = dataset.table[list(NULLABLE)].isna()
    by_class = gaps.groupby(dataset.table["label"]).mean()
    lines = tuple(
        (
            TITLES.get(column, column.replace("_", " ").capitalize()),
            count(gaps[column].sum()),
            percent(float(gaps[column].mean())),
            *(percent(float(by_class[column].get(label, math.nan))) for label in dataset.classes),
        )
        for column in NULLABLE
    )
    heads = ("Column", "Images", "Share", *(name(label, 24).short for label in dataset.classes))
    return Grid("Images without a value, and their share of each class", heads, lines)


def fold_grid(part: str, table: pd.DataFrame) -> Grid:
    """Balance of one part of the folds over every attribute."""
    folds = sum(1 for column in table.columns if str(column).startswith("images")) - 1
    listed = folds <= MOST_FOLDS
    lines = tuple(
        (
            f"{row['attribute']}: {name(str(row['value'])).short}",
            count(row["images"]),
            *_by_fold(row, folds),
            UNDEFINED if math.isnan(row["deviation"]) else f"{row['deviation'] * 100:.1f}%",
        )
        for row in table.to_dict("records")
    )
    heads = [f"Fold {fold}" for fold in range(folds)] if listed else ["Minimum", "Maximum"]
    what = " (groups)" if listed else f" over {folds} folds"
    return Grid(f"Images{what} of the {part} part", ("Value", "All", *heads, "Deviation"), lines)


def _by_fold(row: Mapping[Any, Any], folds: int) -> list[str]:
    """Images (groups) in each fold; of many folds the minimum and the maximum of images."""
    images = [row[f"images{fold}"] for fold in range(folds)]
    if folds > MOST_FOLDS:
        return [count(min(images)), count(max(images))]
    groups = [row[f"groups{fold}"] for fold in range(folds)]
    return [f"{count(n)} ({count(g)})" for n, g in zip(images, groups, strict=True)]


# --- image quality --------------------------------------------------------------------------------


def _quality_boxes(
    quality: pd.DataFrame | None, by: pd.Series, classes: tuple[str, ...] | None
) -> tuple[tuple[str, Drawing], ...]:
    if quality is None or not by.notna().any():
        return ()
    order = classes or tuple(sorted(by.dropna().unique()))
    kind = "class" if classes else "source"
    return tuple(
        (
            TITLES[key],
            boxes(quality[key], by, order, f"{TITLES[key]} by {kind}", coloured=bool(classes)),
        )
        for key in MEASURES
    )


def boxes(
    values: pd.Series, by: pd.Series, order: Sequence[str], label: str, *, coloured: bool = True
) -> Drawing:
    """Box plot of every category: quartiles, and the 5th and 95th percentile."""
    import altair as alt

    names = {one: name(str(one), 20).short for one in order}
    colours = class_colours(order) if coloured else [ACCENT] * len(order)
    frame = pd.DataFrame({"value": values.to_numpy(), "by": by.to_numpy()}).dropna()
    records = [
        {"by": names[one], "colour": colour}
        | {key: float(own.quantile(share)) for key, share in BOX.items()}
        for one, colour in zip(order, colours, strict=True)
        if len(own := frame.loc[frame["by"] == one, "value"])
    ]
    base = alt.Chart(
        alt.InlineData(values=records), width=WIDTH, height=40 + 22 * len(records)
    ).encode(y=alt.Y("by", type="nominal", sort=list(names.values()), title=None))
    colour = alt.Color("colour", type="nominal", scale=None)
    whiskers = base.mark_rule(color=SOFT).encode(
        x=alt.X("low", type="quantitative", title=None, scale=alt.Scale(zero=False)),
        x2="high",
    )
    box = base.mark_bar(height=11).encode(x=alt.X("q1", type="quantitative"), x2="q3", color=colour)
    middle = base.mark_tick(color="var(--paper)", thickness=2, height=11).encode(
        x=alt.X("middle", type="quantitative")
    )
    return drawing(alt.layer(whiskers, box, middle), label)


def size_grids(quality: pd.DataFrame, dataset: Dataset) -> list[Grid]:
    """Image sizes, most frequent first: by class, and by source if known."""
    return [
        _size_grid(quality, kind, parts) for kind, parts in _partitions(quality, dataset).items()
    ]


def quality_grids(quality: pd.DataFrame, dataset: Dataset) -> list[Grid]:
    """Median and quartiles of every measure: by class, and by source if known."""
    return [_quality_grid(kind, parts) for kind, parts in _partitions(quality, dataset).items()]


def quality_data(quality: pd.DataFrame, dataset: Dataset) -> dict[str, object]:
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
        for kind, parts in _partitions(quality, dataset).items()
    }


def _partitions(quality: pd.DataFrame, dataset: Dataset) -> dict[str, Mapping[str, pd.DataFrame]]:
    """The rows of quality by class and by source, after all of them; no part without rows."""
    table = dataset.table.set_index("image_id").loc[quality.index]
    columns = {"class": (table["label"], dataset.classes)}
    if table["source"].notna().any():
        sources = table["source"].fillna("missing")
        columns["source"] = (sources, tuple(sorted(set(sources))))
    return {kind: dict(_parts(quality, by, order)) for kind, (by, order) in columns.items()}


def _parts(
    quality: pd.DataFrame, by: pd.Series, order: tuple[str, ...]
) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all", quality
    for part in order:
        own = quality[by.to_numpy() == part]
        if len(own):
            yield part, own


def _sizes(quality: pd.DataFrame) -> dict[tuple[int, int], int]:
    """Files by (width, height), most frequent first."""
    counts = quality.groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    return dict(zip(counts.index.tolist(), counts.tolist(), strict=True))


def _size_grid(quality: pd.DataFrame, kind: str, parts: Mapping[str, pd.DataFrame]) -> Grid:
    every = list(_sizes(quality))
    by_part = {part: _sizes(own) for part, own in parts.items()}
    lines = {f"{width} × {height}": [(width, height)] for width, height in every[:MOST_SIZES]}  # noqa: RUF001
    if len(every) > MOST_SIZES:
        lines[f"{len(every) - MOST_SIZES} further sizes"] = every[MOST_SIZES:]

    def share(part: str, sizes: Sequence[tuple[int, int]]) -> str:
        number = sum(by_part[part].get(size, 0) for size in sizes)
        return f"{count(number)} ({percent(number / len(parts[part]))})" if number else "0"

    rows = tuple((head, *(share(part, sizes) for part in parts)) for head, sizes in lines.items())
    heads = ("Size", *(name(part, 24).short for part in parts))
    return Grid(f"Image size, width × height in pixels, and share of the {kind}", heads, rows)  # noqa: RUF001


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
        f"Median and quartiles by {kind}; for hair, which most images lack, the mean share of the "
        "image (and the share of images with any)"
    )
    return Grid(caption, heads, lines)


def _quartiles(values: pd.Series, places: int) -> str:
    low, middle, high = (fixed(float(value), places) for value in values.quantile(list(QUARTILES)))
    return f"{middle} [{low}, {high}]"
