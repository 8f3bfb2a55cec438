"""`data preprocess` shows what preprocessing does to images, `data cache` what is stored."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import click

BYTES = 1000.0


@click.command("preprocess")
@click.argument(
    "images",
    nargs=-1,
    required=True,
    metavar="IMAGE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures: <image>.png of each.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    help="A switch of the chain: hair_removal, colour_constancy, clahe, image_size; repeatable. "
    "Default: all of them, at their usual values.",
)
def preprocess(images: tuple[Path, ...], folder: Path, settings: tuple[str, ...]) -> None:
    """Show an image before, its hair mask, and after every step; say what each step costs."""
    from PIL import Image

    from bench.data.images import decode, read_picture
    from bench.data.preprocess import preprocessing
    from bench.data.steps import panel, watch
    from bench.errors import DataError
    from bench.recipe import Recipe, parse_overrides

    usual = {"hair_removal": True, "colour_constancy": 6, "clahe": 2}
    chain = preprocessing(Recipe().with_overrides(usual | parse_overrides(settings)))
    _refuse_twins(images)
    spent: dict[str, list[float]] = defaultdict(list)
    folder.mkdir(parents=True, exist_ok=True)
    for path in images:
        try:
            stages = watch(read_picture(path), decode, chain)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: {getattr(error, 'strerror', None) or error}; give whole JPEG or PNG files"
            ) from None
        for stage in stages:
            if stage.seconds is not None:
                spent[stage.name].append(stage.seconds)
        Image.fromarray(panel(stages)).save(folder / f"{path.stem}.png")
        share = next((s.image.mean() / 255 for s in stages if s.name == "hair mask"), 0.0)
        click.echo(f"{folder / path.stem}.png  hair on {share:.1%}")
    _print_cost(spent)


def _refuse_twins(images: tuple[Path, ...]) -> None:
    from bench.errors import BenchError, listing

    names = [path.stem for path in images]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise BenchError(f"images of the same name: {listing(twins)}; show them one at a time")


def _print_cost(spent: dict[str, list[float]]) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    table = Table("step", "ms an image (median)", "most")
    for name, seconds in spent.items():
        millis = np.array(seconds) * 1000
        table.add_row(name, f"{np.median(millis):.2f}", f"{millis.max():.2f}")
    Console().print(table)


@click.command("cache")
@click.option(
    "--verify", is_flag=True, help="Check every store against its hash. Exit 1 if any fails."
)
@click.option("--clear", is_flag=True, help="Remove all stores that no build is at work on.")
@click.option("--unfinished", is_flag=True, help="With --clear: remove only what is not whole.")
def cache(*, verify: bool, clear: bool, unfinished: bool) -> int:
    """Show which preprocessed images are stored, how large they are; check or remove them."""
    from rich.console import Console
    from rich.table import Table

    from bench.cli.board_text import PIPE_WIDTH
    from bench.data.store import cached_stores, is_sound, remove, stores_folder

    if unfinished and not clear:
        raise click.UsageError("--unfinished goes with --clear")
    stores = cached_stores()
    failed = 0
    table = Table("store", "dataset", "images", "steps", "size", "state")
    for cached in stores:
        state: str = (
            cached.state if cached.state != "unreadable" else "of another version, or damaged"
        )
        if clear and (cached.state != "whole" or not unfinished):
            state = "removed" if remove(cached) else "kept: a build is at work on it"
        elif verify and cached.state == "whole":
            sound = is_sound(cached.folder)
            state = "sound" if sound else "DAMAGED: the next run makes it again"
            failed += not sound
        table.add_row(cached.folder.name, *_what(cached), _size(cached.size), state)
    click.echo(f"{stores_folder()}: {len(stores)} stores, {_size(sum(s.size for s in stores))}")
    if stores:
        console = Console()
        Console(width=None if console.is_terminal else PIPE_WIDTH).print(table)
    return 1 if failed else 0


def _what(cached: Any) -> tuple[str, str, str]:
    """Dataset, images and steps of a store, as far as they are known."""
    from bench.data.preprocess import described

    if cached.index is None:
        return "", "", ""
    index = cached.index
    return index.dataset, str(len(index.image_ids)), described(index.chain)


def _size(count: float) -> str:
    """A number of bytes for people: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < BYTES:
            return f"{count:.4g} {unit}"
        count /= BYTES
    return f"{count:.4g} TB"
