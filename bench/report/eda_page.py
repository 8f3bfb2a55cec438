"""The page of exploratory data analysis."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bench.leaderboard import REFERENCE, Association
from bench.leaderboard.text import metric
from bench.report import text
from bench.report.charts import Drawing
from bench.report.eda_tables import (
    MEASURES,
    TITLES,
    EdaReport,
    Grid,
    Strengths,
    boxes,
    crossed,
    fold_grid,
    group_sizes,
    missing,
    pictures_json,
    quality_grids,
    size_grids,
    strengths,
)
from bench.report.format import count, counted, listed, name, plain, said
from bench.report.tables import Cell, cell
from bench.report.text import PageHeader, of_the_data

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


ASSOCIATION = (
    "Cramér’s V for words, epsilon squared for numbers, both from 0 (none) to 1, over images. "
    "Noise alone makes them larger than 0, and so does a number of images a group that goes "
    "with both: the tick marks the mean where whole groups of the same number of images trade "
    "their values."
)
P_VALUES = (
    "Permutation tests: 1,999 trades of labels between groups of the same number of images; "
    "adjusted by Holm over all tests of this page. Before that the smallest possible p is "
    "0.0005."
)
PICTURES = (
    "Measured at a height of 450 pixels at most. Sharpness: variance of the Laplacian. "
    "Brightness: mean L*. Colour cast: distance of the mean colour from grey (a*, b*). Hair: "
    "share of the picture that the preprocessing’s hair mask covers; rulers count, too. Boxes "
    "show quartiles, lines reach from the 5th to the 95th percentile."
)
INTERVALS = (
    "95%, bias-corrected percentiles of 1,000 resamples of whole {unit}. Where the value lies "
    "below every resample there is none: it is as small as noise makes it."
)
CLASSIFIERS = (
    "Gradient-boosted trees (scikit-learn, fixed settings, classes weighted to count the same),"
    " trained and tested on the folds of this page, scored by the bench’s own metrics with "
    "cluster-bootstrap intervals over {unit}. No method of the bench is given the source or the"
    " kind of diagnosis."
)


def headline(found: EdaReport) -> str:
    """How much there is, and how unevenly."""
    images = found.board.dataset.images_by_class
    there = {label: number for label, number in images.items() if number}
    most, least = max(there, key=there.__getitem__), min(there, key=there.__getitem__)
    ratio = there[most] / there[least]
    where = "synthetic images" if found.manifest.synthetic else "images"
    odds = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"  # noqa: PLR2004 - digits of a ratio
    unit = found.board.dataset.unit
    kind = "group" if unit == "group" else f"{unit} group"
    uneven = f"{said(most)} outnumbers {said(least)} {odds} to 1"
    return (
        f"{count(len(found.manifest))} {where} of "
        f"{counted(len(set(found.group_ids.tolist())), kind)}; "
        f"{uneven if ratio > 1 else 'every class has as many images'}."
    )


def standfirst(found: EdaReport) -> tuple[str, ...]:
    """What metadata alone gives away."""
    board = found.board
    told = []
    blind = [row for row in board.rows if row.kind != REFERENCE]
    if blind:  # by AUC: it does not ask where a classifier puts its threshold
        best = max(blind, key=lambda row: row.table.metrics["macro_auc"].value)
        about = metric("macro_auc")
        reached = cell(best.table.metrics["macro_auc"], about, board.interval)
        told.append(
            f"Without looking at any lesion, a classifier that knows "
            f"“{said(best.name)}” reaches {about.label} {reached.text}: a method that scores no "
            "better may have learned nothing else."
        )
    strong = [
        one
        for one in found.associations.values()
        if "missing" not in one.name and " by " not in one.name and one.p_adjusted < 0.05  # noqa: PLR2004
    ]
    if strong:
        named = [TITLES.get(one.name, one.name).split(",")[0].lower() for one in strong]
        told.append(
            f"Told apart from chance in its association with the diagnosis: {listed(named)}."
        )
    if found.quality is None:
        told.append("Metadata only: no picture was looked at.")
    return tuple(told)


def how_made(found: EdaReport) -> tuple[tuple[str, str], ...]:
    """How the numbers were made, as terms with their explanation."""
    unit = text.plural(found.board.dataset.unit)
    made = [
        ("Association", ASSOCIATION),
        ("Intervals", INTERVALS.format(unit=unit)),
        ("p values", P_VALUES),
        ("Classifiers without pictures", CLASSIFIERS.format(unit=unit)),
    ]
    if found.quality is not None:
        made.append(("Pictures", PICTURES))
    return tuple(made)


WORDS = ("sex", "localization", "dx_type", "source")
METRICS = ("macro_f1", "balanced_accuracy", "macro_auc")


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures in a row, as data addresses with a text for each."""

    title: str
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Blind:
    """A classifier that sees no picture."""

    name: str
    reference: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class EdaPage(PageHeader):
    """The page, ready to be laid out."""

    group_sizes: tuple[Grid, ...]
    galleries: tuple[Gallery, ...]
    extremes: tuple[Gallery, ...]
    sizes: tuple[Grid, ...]
    quality_tables: tuple[Grid, ...]
    quality: Strengths | None
    quality_by_class: tuple[tuple[str, Drawing], ...]
    quality_by_source: tuple[tuple[str, Drawing], ...]
    metadata: Strengths
    ages: Drawing | None
    crossed: tuple[Grid, ...]
    missing: Grid
    blind_heads: tuple[str, ...]
    blind: tuple[Blind, ...]
    folds: tuple[Grid, ...]
    frozen: bool
    how_made: tuple[tuple[str, str], ...]


def eda_page(found: EdaReport) -> EdaPage:
    """Everything the page says and draws."""
    board, manifest = found.board, found.manifest
    image, rest = _parted(found.associations)
    table, quality = manifest.table, found.quality
    ages = table["age"]
    return EdaPage(
        title=f"{'Synthetic data: ' if manifest.synthetic else ''}{said(manifest.title)}, EDA",
        kicker=f"Exploration · {said(manifest.title)} · {plain(board.protocol)}",
        heading="What is in this dataset",
        headline=headline(found),
        standfirst=standfirst(found),
        data=of_the_data(board),
        group_sizes=group_sizes(manifest),
        galleries=tuple(
            _gallery(label, found) for label in manifest.classes if label in found.pictures
        ),
        extremes=tuple(
            _gallery(key, found) for key in found.pictures if key not in manifest.classes
        ),
        sizes=() if quality is None else size_grids(quality, manifest),
        quality_tables=() if quality is None else quality_grids(quality, manifest),
        quality=strengths("quality-axis", image) if image else None,
        quality_by_class=_boxes(quality, table["label"], manifest.classes),
        quality_by_source=_boxes(quality, table["source"], None),
        metadata=strengths("metadata-axis", rest),
        ages=boxes(ages, table["label"], manifest.classes, "Age in years by class")
        if ages.notna().any()
        else None,
        crossed=tuple(crossed(manifest, key) for key in WORDS if table[key].notna().any()),
        missing=missing(manifest),
        blind_heads=tuple(metric(key).title for key in METRICS),
        blind=tuple(
            Blind(
                name(row.name).short,
                row.kind == REFERENCE,
                tuple(cell(row.table.metrics[key], metric(key), board.interval) for key in METRICS),
            )
            for row in board.rows
        ),
        folds=tuple(fold_grid(part, one) for part, one in found.balance.items()),
        frozen=found.frozen,
        how_made=how_made(found),
    )


def _parted(every: Mapping[str, Association]) -> tuple[list[Association], list[Association]]:
    """Associations of pictures, and those of metadata."""
    image = [one for key, one in every.items() if key.split(" ")[0] in MEASURES]
    return image, [one for one in every.values() if one not in image]


def gallery(key: str, pictures: Sequence[tuple[str, bytes]], labels: Mapping[str, str]) -> Gallery:
    """Small JPEGs with their image ids and labels, as a page shows them."""
    shown = tuple(
        (
            f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}",
            f"{name(image_id).short}, {name(str(labels[image_id]), 24).short}",
        )
        for image_id, jpeg in pictures
    )
    return Gallery(name(key.replace("_", " "), 24).short, shown)


def _gallery(key: str, found: EdaReport) -> Gallery:
    labels = dict(zip(found.manifest.image_ids, found.manifest.table["label"], strict=True))
    return gallery(key, found.pictures[key], labels)


def _boxes(
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


def eda_json(found: EdaReport) -> str:
    """The page's numbers: associations, classifiers, class counts."""
    board = found.board

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [clean(inner) for inner in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    content = {
        "dataset": board.dataset.name,
        "roster_sha256": board.dataset.roster_sha256,
        "synthetic": board.dataset.synthetic,
        "protocol": board.protocol,
        "folds_frozen": found.frozen,
        "images_by_class": dict(board.dataset.images_by_class),
        "groups_by_class": dict(board.dataset.groups_by_class),
        "pictures_measured": 0 if found.quality is None else len(found.quality),
        "pictures": None if found.quality is None else pictures_json(found.quality, found.manifest),
        "associations": [asdict(one) for one in found.associations.values()],
        "without_pictures": {
            row.name: {key: asdict(value) for key, value in row.table.metrics.items()}
            for row in board.rows
        },
    }
    return json.dumps(clean(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
