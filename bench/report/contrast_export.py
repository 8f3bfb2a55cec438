"""A comparison as files: its page, comparison.json, and the images on which rows disagree."""

from __future__ import annotations

import json
from dataclasses import asdict

from bench.contrast import Contrast
from bench.foreign import text_cell
from bench.report.contrast import page
from bench.report.contrast_words import headline, verdict
from bench.report.export import as_csv, number, plain_data
from bench.report.html import render_page

COLUMNS = (
    "a",
    "b",
    "image_id",
    "group_id",
    "truth",
    "a_called",
    "b_called",
    "a_probability",
    "b_probability",
    "a_right",
    "b_right",
    "passes",
)


def render_contrast(found: Contrast, home: str = "") -> dict[str, str]:
    """The files of a comparison, by name. home: address of the site's index, if in one."""
    return {
        "index.html": render_page("compare.html.j2", page=page(found), home=home),
        "disagreements.csv": disagreements_csv(found),
        "comparison.json": comparison_json(found),
    }


def comparison_json(found: Contrast) -> str:
    """Everything on the page but the images: strict JSON, an undefined value is null."""
    content = asdict(found)
    for pair, made in zip(content["pairs"], found.pairs, strict=True):
        pair["verdict"] = verdict(found, made)
        pair["disputed"] = len(made.disputed)
    content["headline"] = headline(found)
    told = json.dumps(plain_data(content), indent=1, ensure_ascii=False, allow_nan=False)
    return told + "\n"


def disagreements_csv(found: Contrast) -> str:
    """A line an image that one row of a pair gets right more often than the other."""
    lines = [list(COLUMNS)]
    for pair in found.pairs:
        one = pair.comparison
        lines += [
            [
                *map(text_cell, (one.a, one.b, image.image_id, image.group_id, image.label)),
                *map(text_cell, (image.a_called, image.b_called)),
                f"{image.a_probability:.6f}",
                f"{image.b_probability:.6f}",
                *(str(number(each)) for each in (image.a_right, image.b_right, image.passes)),
            ]
            for image in pair.disputed
        ]
    return as_csv(lines)
