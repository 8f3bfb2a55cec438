"""The page of a dataset under a protocol; its sentences are in `reports/dataset.html.j2`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from bench.protocol import PARTS
from bench.report.charts import Bar, Scale, scale_of, swatches
from bench.report.dataset_report import LEFT_OUT, DatasetReport
from bench.report.eda_page import Grid, fold_grid, missing_grid
from bench.report.export import plain_data
from bench.report.format import count, name, plain, said
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
from bench.report.text import of_the_data, protocol_title

FEW_GROUPS = 50
"""Classes with fewer groups are marked: their detectable difference is rough."""
LISTED_PAIRS = 20
NAME = "dataset"
FILES = (
    (f"{NAME}.json", "everything on this page"),
    (f"{NAME}_guidelines.csv", "the items of the guidelines, with a column for your text"),
)


def render_dataset(report: DatasetReport, home: str = "") -> dict[str, str]:
    """The files of the page, by name. home: address of the site's index, if in one."""
    items = guidelines(report)
    page = dataset_page(report, items)
    return {
        f"{NAME}.html": render_page("dataset.html.j2", page=page, home=home),
        f"{NAME}.json": dataset_json(report, items),
        f"{NAME}_guidelines.csv": guidelines_csv(items),
    }


def dataset_page(report: DatasetReport, items: Sequence[Guideline]) -> dict[str, Any]:
    """Everything that the template of the page reads."""
    dataset, protocol = report.manifest, report.protocol
    detectable = report.detectable
    synthetic = "Synthetic data: " if dataset.synthetic else ""
    names = said(dataset.title), plain(protocol.name)
    return {
        "report": report,
        "title": f"{synthetic}{', '.join(names)}: data and protocol",
        "kicker": " · ".join(("Data and protocol", *names)),
        "heading": protocol_title(protocol.title, dataset.unit),
        "data": of_the_data(report.board),
        "flow": _flow(report),
        "parts": _part_grid(report),
        "used": _row_grid(report),
        "balance": [fold_grid(part, table) for part, table in report.balance.items()],
        "largest_deviation": _largest_deviation(report),
        "missing": missing_grid(dataset),
        "pairs": _pair_grid(report),
        "detectable": detectable.to_dict("records"),
        "detectable_overall": dict(
            zip(detectable["class"], detectable["detectable"], strict=True)
        ).get("all"),
        "scale": scale_of([0.0, *detectable["detectable"]], (0.0, 1.0)),
        "bar": _bar,
        "few_groups": FEW_GROUPS,
        "swatch": dict(zip(dataset.classes, swatches(dataset.classes), strict=True)),
        "guidelines": items,
        "states": (ANSWERED, IN_PART, AUTHORS),
        "files": FILES,
    }


def _flow(report: DatasetReport) -> dict[str, Any]:
    """Numbers of images and groups from the metadata to the test parts.

    joining       native groups that known duplicates join; joined: the groups that they form
    never_tested  images and groups of no test part; placed: whether any is in train or val
    """
    groups, tested = report.roles.group_ids, report.tested
    native = pd.Series(report.manifest.native_groups).groupby(groups.astype(str)).nunique()
    return {
        "found": len(report.manifest) + sum(report.left_out.values()),
        "joining": int(native[native > 1].sum()),
        "joined": int((native > 1).sum()),
        "tested": (int(tested.sum()), len(set(groups[tested].tolist()))),
        "never_tested": (int((~tested).sum()), len(set(groups[~tested].tolist()))),
        "placed": bool((report.roles.parts[~tested] > 0).any()),
    }


def _largest_deviation(report: DatasetReport) -> float | None:
    """Largest relative deviation of a class from an equal share of the test parts."""
    if "test" not in report.balance:
        return None
    table = report.balance["test"]
    deviation = float(table.loc[table["attribute"] == "class", "deviation"].max())
    return None if math.isnan(deviation) else deviation


def _bar(scale: Scale, value: float) -> Bar | None:
    return None if math.isnan(value) else Bar(scale.at(value), scale.at(0.0), scale.at(value))


# --- tables ---------------------------------------------------------------------------------------


def _part_grid(report: DatasetReport) -> Grid:
    """Images and groups of every part of every fold, and the ones left out."""
    lines = []
    for column in range(report.roles.columns):
        sizes = [report.size(column, part) for part in (*PARTS[1:], PARTS[0])]
        cells = [
            f"{count(images)} ({count(groups)})" if images else "0" for images, groups in sizes
        ]
        lines.append((report.fold_name(column), *cells))
    why = LEFT_OUT.get(report.protocol.split.kind, "")
    caption = "Images (groups) of every fold." + (f" Left out: {why}." if why else "")
    heads = ("Fold", "Train", "Validation", "Test", "Left out")
    return Grid(caption, heads, tuple(lines))


def _row_grid(report: DatasetReport) -> Grid:
    """The images and folds on which each row of the leaderboard was scored."""
    board = report.board
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
    return Grid("Images and folds on which each row was scored", heads, lines, words=(1, 5))


def _pair_grid(report: DatasetReport) -> Grid | None:
    """Known duplicates that the roles do not join, and the folds with one on each side."""
    later, roles, dataset = report.pairs.later, report.roles, report.manifest
    if later.empty:
        return None
    parts = dict(zip(roles.image_ids.tolist(), roles.parts, strict=True))
    label = dict(zip(dataset.image_ids, dataset.table["label"], strict=True))
    lines = []
    for pair in later.head(LISTED_PAIRS).to_dict("records"):
        ids = [str(pair["image_a"]), str(pair["image_b"])]
        a, b = (parts[image_id] for image_id in ids)
        apart = int(np.sum((a != b) & (a > 0) & (b > 0)))
        lines.append(
            (
                ", ".join(map(plain, ids)),
                ", ".join(plain(str(label[image_id])) for image_id in ids),
                plain(str(pair.get("verdict", ""))),
                f"{apart} of {roles.columns}",
            )
        )
    first = (
        f"; the first {LISTED_PAIRS} of {count(len(later))}" if len(later) > LISTED_PAIRS else ""
    )
    heads = ("Images", "Labels", "Verdict", "Folds that separate them")
    caption = f"Pairs found after the roles were frozen{first}"
    return Grid(caption, heads, tuple(lines), words=(1, 2))


# --- JSON -----------------------------------------------------------------------------------------


def dataset_json(report: DatasetReport, items: Sequence[Guideline]) -> str:
    """Everything on the page for programs: strict JSON, an undefined value is null."""
    dataset, protocol = report.manifest, report.protocol
    content = {
        "protocol": protocol.name,
        "dataset": dataset.name,
        "roster_sha256": dataset.roster_sha256,
        "roles_sha256": protocol.roles[dataset.name].sha256,
        "synthetic": dataset.synthetic,
        "unit": dataset.unit,
        "images": len(dataset),
        "native_groups": report.native_groups,
        "groups": report.groups,
        "left_out": dict(report.left_out),
        "folds": [_fold_data(report, column) for column in range(report.roles.columns)],
        "balance": {part: table.to_dict("records") for part, table in report.balance.items()},
        "duplicates": {
            "known_before": report.pairs.frozen.to_dict("records"),
            "found_since": report.pairs.later.to_dict("records"),
        },
        "proven": list(report.proven),
        "detectable": {
            "assumed": dict(report.assumed),
            "by_class": report.detectable.to_dict("records"),
        },
        "guidelines": [
            asdict(one) | {"items": [asdict(item) | {"state": item.state} for item in one.items]}
            for one in items
        ],
    }
    return json.dumps(plain_data(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _fold_data(report: DatasetReport, column: int) -> dict[str, Any]:
    parts = {part or "left out": report.size(column, part) for part in ("train", "val", "test", "")}
    return {
        "name": report.fold_name(column),
        **{part: {"images": images, "groups": groups} for part, (images, groups) in parts.items()},
    }
