"""The EDA page as plain words, numbers already rounded, and drawings."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bench.estimates import Association
from bench.report import eda_words
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.eda_charts import boxes
from bench.report.eda_pictures import pictures_json, quality_grids, size_grids
from bench.report.eda_tables import (
    Grid,
    Strengths,
    crossed,
    fold_grid,
    group_sizes,
    missing,
    strengths,
)
from bench.report.explored import MEASURES, TITLES, Explored
from bench.report.headed import Headed, of_the_data
from bench.report.names import name, plain, said
from bench.report.rows import REFERENCE
from bench.report.vega import Drawing

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
class EdaPage(Headed):
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


def eda_page(found: Explored) -> EdaPage:
    """Everything the page says and draws."""
    board, manifest = found.board, found.manifest
    image, rest = _parted(found.associations)
    table, quality = manifest.table, found.quality
    ages = table["age"]
    return EdaPage(
        title=f"{'Synthetic data: ' if manifest.synthetic else ''}{said(manifest.title)}, EDA",
        kicker=f"Exploration · {said(manifest.title)} · {plain(board.protocol)}",
        heading="What is in this dataset",
        headline=eda_words.headline(found),
        standfirst=eda_words.standfirst(found),
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
        how_made=eda_words.how_made(found),
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


def _gallery(key: str, found: Explored) -> Gallery:
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


def eda_json(found: Explored) -> str:
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
