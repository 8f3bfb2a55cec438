"""`gradcam`: pictures of where each trained model looked, on a right and a wrong test image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bench.cli.board import Bench, open_bench, print_data
from bench.cli.checkpoints import best_checkpoint
from bench.cli.numbers import Numbers
from bench.cli.places import model_device_option, protocol_option, results_option, source_options
from bench.data.sources import DataChoice
from bench.errors import ResultsError, listing


@click.command()
@protocol_option
@source_options
@results_option
@click.option("--row", "rows", multiple=True, help="A row's name; repeatable. Default: all.")
@click.option("--folds", type=Numbers(), help="Folds, such as 0,2. Default: all.")
@model_device_option
def gradcam(
    protocol_name: str,
    data: DataChoice,
    results: Path,
    rows: tuple[str, ...],
    folds: tuple[int, ...] | None,
    device: str,
) -> int:
    """Draw Grad-CAM of the surest right and the surest wrong test image of each class and job.

    The pictures go to gradcam/<class>.png in each job's folder. Needs the images, and the
    checkpoints that `run` left.
    """
    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    jobs = list(finished_jobs(bench, results, rows, folds))
    if not jobs:
        raise ResultsError(
            f"{results}: no finished job of {protocol_name} on {bench.source.manifest.name} "
            "that is asked for; run it first, or name its folder with --results"
        )
    without = 0
    for folder, record in jobs:
        path = best_checkpoint(folder, record)
        if path is None:
            without += 1
            click.echo(
                f"{folder}: no checkpoint there; train it again to see where it looked", err=True
            )
            continue
        _draw(bench, folder, record, path, device)
        click.echo(f"gradcam: {folder / 'gradcam'}")
    return 1 if without else 0


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


def _draw(bench: Bench, folder: Path, record: Any, checkpoint: Path, device: str) -> None:
    """A picture a class into the job's folder."""
    import numpy as np

    from bench.data.images import decode, find_images
    from bench.files import safe_name
    from bench.run.results import PREDICTIONS, read_predictions
    from bench.score.examples import surest
    from bench.train.cam_sheet import Example, sheet, write_sheet
    from bench.train.classifier import load_classifier

    manifest, job = bench.source.manifest, record.job
    predictions = read_predictions(folder / PREDICTIONS, job.classes)
    code = dict(zip(manifest.image_ids.tolist(), manifest.labels.tolist(), strict=True))
    labels = np.array([code[image_id] for image_id in predictions.image_ids])
    files = find_images(bench.source)
    classifier = load_classifier(checkpoint, device)
    data = "SYNTHETIC data" if manifest.synthetic else manifest.name
    for label, name in enumerate(job.classes):
        examples = []
        for word, shown in zip(("right", "wrong"), surest(predictions, labels, label), strict=True):
            if shown is None:
                examples.append(Example(f"{word}: no test image of {name} is"))
                continue
            told = (
                f"{word}: {shown.image_id}, {name}, called {job.classes[shown.called]} "
                f"(p {shown.probability:.2f})"
            )
            image = decode(files[shown.image_id].read_bytes())
            examples.append(Example(told, image, label, shown.called))
        title = (
            f"{job.row}, fold {job.fold}, {data}: image, map of the called class, of the true one"
        )
        target = folder / "gradcam" / f"{safe_name([name])}.png"
        write_sheet(sheet(classifier, title, examples), target)
