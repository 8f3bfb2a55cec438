"""Checkpoints that a user names, Grad-CAM sheets and pictures for pages."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.errors import ResultsError, listing
from bench.io import sha256_of

if TYPE_CHECKING:
    import numpy as np

    from bench.leaderboard import HighLossImage, RowReport
    from bench.report.row_page import Pictured
    from bench.workflows.report import Bench


SUFFIX = ".safetensors"


def best_checkpoint(folder: Path, record: Any) -> Path | None:
    """A job's best checkpoint, if it is there. Raises ResultsError where it is another."""
    kind = "best_ema" if record.facts.get("selected_weights") == "ema" else "best"
    path = folder / "checkpoints" / f"{kind}{SUFFIX}"
    if not path.is_file():
        return None
    stated = record.files.get(path.relative_to(folder).as_posix())
    if stated != sha256_of(path):
        raise ResultsError(
            f"{path}: is not the file that the record beside it was written for; "
            f"remove {folder} and run again"
        )
    return path


def meant_checkpoints(given: Sequence[Path]) -> list[Path]:
    """The files meant: each as it stands; of a folder, the best of every finished job below it,
    else the checkpoints that lie in it.

    Raises ResultsError for what is neither, or a folder without any.
    """
    return [found for path in given for found in _meant(path)]


def _meant(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ResultsError(
            f"{path}: no such checkpoint; give a best{SUFFIX}, or a folder of results that holds "
            "such files"
        )
    found = list(_of_jobs(path)) or sorted(path.glob(f"*{SUFFIX}"))
    if not found:
        raise ResultsError(
            f"{path}: holds no checkpoint of a finished job; train one first (python bench.py run)"
        )
    return found


def _of_jobs(folder: Path) -> Iterator[Path]:
    from bench.run.results import read_record, visible

    for mark in visible(folder, "**/record.json"):
        record = read_record(mark.parent)
        best = None if record is None else best_checkpoint(mark.parent, record)
        if best is not None:
            yield best


def finished_jobs(
    bench: Bench, results: Path, rows: tuple[str, ...], folds: tuple[int, ...] | None
) -> Iterator[tuple[Path, Any]]:
    """The finished jobs that are asked for. Raises ResultsError for a row that is not there."""
    from bench.run.results import records

    manifest = bench.source.manifest
    mine = [
        (folder, record)
        for folder, record in records(results, bench.protocol.name, manifest.name)
        if record.job.roster_sha256 == manifest.roster_sha256
        and record.job.roles_sha256 == bench.roles_sha256
        and record.job.classes == manifest.classes
    ]
    known = {record.job.row for _, record in mine}
    unknown = [row for row in rows if row not in known]
    if unknown:
        raise ResultsError(
            f"--row {listing(unknown)}: not in {results}; there are {listing(sorted(known))}"
        )
    for folder, record in mine:
        if (not rows or record.job.row in rows) and (folds is None or record.job.fold in folds):
            yield folder, record


SIDE = 128
QUALITY = 80


def pictures(
    bench: Bench, results: Path, looks: Mapping[str, RowReport]
) -> dict[str, dict[str, Pictured]]:
    """The hardest images of every row as small pictures, by row and image id.

    With Grad-CAM of the called class where the checkpoint that tested an image lies in `results`.
    Raises DataError for images that are not there, ResultsError for a checkpoint that is another.
    """
    from bench.data.images import decode, find_images
    from bench.report.row_page import images_to_picture

    files = find_images(bench.source)
    checkpoints = _checkpoints(bench, results)
    found: dict[str, dict[str, Pictured]] = {}
    for row, look in looks.items():
        images = images_to_picture(look)
        pixels = {one.image_id: decode(files[one.image_id].read_bytes()) for one in images}
        found[row] = _pictured(row, images, pixels, checkpoints)
    return found


def _checkpoints(bench: Bench, results: Path) -> dict[tuple[str, int], Path]:
    """The best checkpoint of every row and fold, of the first of the protocol's seeds."""
    found = {}
    for folder, record in finished_jobs(bench, results, (), None):
        job = record.job
        if job.seed == bench.protocol.run.seeds[0] and job.repeat == 0:
            path = best_checkpoint(folder, record)
            if path is not None:
                found[job.row, job.fold] = path
    return found


def _pictured(
    row: str,
    images: Sequence[HighLossImage],
    pixels: Mapping[str, np.ndarray],
    checkpoints: Mapping[tuple[str, int], Path],
) -> dict[str, Pictured]:
    from bench.report.row_page import Pictured

    looking: dict[int, Any] = {}
    found = {}
    for one in images:
        path = checkpoints.get((row, one.fold))
        if path is not None and one.fold not in looking:
            looking[one.fold] = _classifier(path)
        classifier = looking.get(one.fold)
        cam = b"" if classifier is None else _cam(classifier, pixels[one.image_id], one.called)
        found[one.image_id] = Pictured(_jpeg(pixels[one.image_id]), cam)
    return found


def _classifier(path: Path) -> Any:
    from bench.errors import BenchError
    from bench.train.predictor import load_classifier

    try:
        return load_classifier(path)
    except BenchError as error:
        click.echo(f"no Grad-CAM: {error}", err=True)
        return None


def _cam(classifier: Any, image: np.ndarray, called: str) -> bytes:
    from bench.errors import MethodError
    from bench.train.predictor import explained

    try:
        return _jpeg(explained(classifier, image, classifier.classes.index(called)))
    except MethodError as error:
        click.echo(f"no Grad-CAM: {error}", err=True)
        return b""


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
