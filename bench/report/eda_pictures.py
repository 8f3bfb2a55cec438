"""Sizes and quality of pictures by class and by source: tables of the page, numbers of its JSON."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from bench.manifest import Manifest
from bench.report.eda_tables import Grid
from bench.report.explored import MEASURES, TITLES
from bench.report.names import name
from bench.report.numbers import count, fixed, percent

SHOWN = 12
PLACES = {"sharpness": 0, "brightness": 1, "colour_cast": 1}
QUARTILES = (0.25, 0.5, 0.75)


def size_grids(quality: pd.DataFrame, manifest: Manifest) -> tuple[Grid, ...]:
    """How many files have which size, the commonest first: by class, and by source if known."""
    return tuple(
        _size_grid(quality, kind, parts) for kind, parts in _partings(quality, manifest).items()
    )


def quality_grids(quality: pd.DataFrame, manifest: Manifest) -> tuple[Grid, ...]:
    """Median and quartiles of every measure: by class, and by source if known."""
    return tuple(_quality_grid(kind, parts) for kind, parts in _partings(quality, manifest).items())


def pictures_json(quality: pd.DataFrame, manifest: Manifest) -> dict[str, object]:
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


def _partings(quality: pd.DataFrame, manifest: Manifest) -> dict[str, Mapping[str, pd.DataFrame]]:
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


def _size_grid(quality: pd.DataFrame, kind: str, parts: Mapping[str, pd.DataFrame]) -> Grid:
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
