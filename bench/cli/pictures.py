"""Pictures for the pages of rows: their hardest images, and where their models looked."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.checkpoints import best_checkpoint
from bench.cli.gradcam import finished_jobs

if TYPE_CHECKING:
    import numpy as np

    from bench.cli.board import Bench
    from bench.closeup import Closeup, HardImage
    from bench.report.hardest import Pictured

SIDE = 128
QUALITY = 80


def pictures(
    bench: Bench, results: Path, looks: Mapping[str, Closeup]
) -> dict[str, dict[str, Pictured]]:
    """The hardest images of every row as small pictures, by row and image id.

    With Grad-CAM of the called class where the checkpoint that tested an image lies in `results`.
    Raises DataError for images that are not there, ResultsError for a checkpoint that is another.
    """
    from bench.data.images import decode, find_images
    from bench.report.hardest import images_to_picture

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
    images: Sequence[HardImage],
    pixels: Mapping[str, np.ndarray],
    checkpoints: Mapping[tuple[str, int], Path],
) -> dict[str, Pictured]:
    from bench.report.hardest import Pictured

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
    from bench.train.classifier import load_classifier

    try:
        return load_classifier(path)
    except BenchError as error:
        click.echo(f"no Grad-CAM: {error}", err=True)
        return None


def _cam(classifier: Any, image: np.ndarray, called: str) -> bytes:
    from bench.errors import MethodError
    from bench.train.cam_sheet import explained

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
