"""`predict`, `gradcam`, `demo`: use trained models."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import (
    Numbers,
    model_device_option,
    protocol_option,
    refuse_unwritable,
    results_option,
    source_options,
)
from bench.cli.terminal import print_data, stage_events
from bench.errors import BenchError, DataError, ResultsError, listing
from bench.settings import DISCLAIMER

if TYPE_CHECKING:
    from bench.data.open import DatasetSpec
    from bench.train.predictor import EnsemblePredictor
    from bench.workflows.artifacts import ImagePredictions


@click.command()
@click.option(
    "--checkpoint",
    "given",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A best.safetensors, or a folder of results: the best of every job in it. Repeatable; "
    "several are averaged.",
)
@click.argument(
    "images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path)
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="Format of the predictions.",
)
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the predictions. Default: the terminal.",
)
@click.option(
    "--gradcam",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a picture of each image with its Grad-CAM map.",
)
@click.option(
    "--uncalibrated",
    is_flag=True,
    help="Probabilities as in the rows. Default: temperature-scaled by the fit on val.",
)
@model_device_option
def predict(
    given: tuple[Path, ...],
    images: tuple[Path, ...],
    kind: str,
    file: Path | None,
    gradcam: Path | None,
    device: str,
    *,
    uncalibrated: bool,
) -> int:
    """Classify image files, or all JPEG and PNG files below folders, by trained models.

    Warns about images unlike the training images. Exit 1 if some files cannot be read; the others
    are predicted. Research software, no medical device.
    """
    from bench.io import write_atomically
    from bench.workflows.artifacts import find_checkpoints, image_files, predict_files

    files = image_files(images)
    if gradcam is not None:
        refuse_unwritable("--gradcam", gradcam / "probe")
    if file is not None:
        refuse_unwritable("--to", file)
    checkpoints = find_checkpoints(given)
    from bench.api import load_predictor

    predictor = load_predictor(checkpoints, device, calibrated=not uncalibrated)
    with stage_events() as on_event:
        found = predict_files(predictor, files, gradcam, on_event)
    if not found.predictions:
        raise DataError(f"no image can be read: {_fault_list(found.faults)}")
    text = _as_csv(predictor, found) if kind == "csv" else _as_json(predictor, found, checkpoints)
    if file is None:
        click.echo(text, nl=False)
    else:
        write_atomically(file, text.encode())
    _print_summary(predictor, found, device)
    return 1 if found.faults else 0


def _as_csv(predictor: EnsemblePredictor, found: ImagePredictions) -> str:
    from bench.io import text_cell

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"p_{name}" for name in predictor.classes]
    writer.writerow(["image", "called", *names, "warnings"])
    for path, prediction in found.predictions.items():
        shares = [f"{share:.6f}" for share in prediction.probs]
        image, called = text_cell(str(path)), text_cell(prediction.label)
        writer.writerow([image, called, *shares, text_cell("; ".join(prediction.warnings))])
    return text.getvalue()


def _as_json(
    predictor: EnsemblePredictor, found: ImagePredictions, checkpoints: Sequence[Path]
) -> str:
    content = {
        "notice": DISCLAIMER,
        "classes": predictor.classes,
        "models": [
            {"checkpoint": str(path), **member.describe()}
            for path, member in zip(checkpoints, predictor.members, strict=True)
        ],
        "images": [
            {
                "image": str(path),
                "called": prediction.label,
                "probabilities": {
                    name: round(float(share), 6)
                    for name, share in zip(predictor.classes, prediction.probs, strict=True)
                },
                "warnings": prediction.warnings,
            }
            for path, prediction in found.predictions.items()
        ],
        "unreadable": {str(path): fault for path, fault in found.faults.items()},
        "seconds": {"reading": found.reading, "models": found.inference},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _print_summary(predictor: EnsemblePredictor, found: ImagePredictions, device: str) -> None:
    """Print origin of the models, warnings, unreadable files, speed and the disclaimer."""
    lines: list[str] = list(predictor.about())
    warned = sum(1 for prediction in found.predictions.values() if prediction.warnings)
    if warned:
        lines.append(f"WARNING: {warned} of {len(found.predictions)} images have warnings")
    if found.faults:
        lines.append(f"{len(found.faults)} files cannot be read: {_fault_list(found.faults)}")
    seconds = found.reading + found.inference
    count = len(found.predictions)
    rate = count / max(seconds, 1e-9)
    lines.append(
        f"{count} images in {seconds:.2f} s, {rate:.0f} a second on {device}: "
        f"{found.reading:.2f} s reading, {found.inference:.2f} s models"
    )
    for sentence in (*lines, DISCLAIMER):
        click.echo(sentence, err=True)


def _fault_list(faults: dict[Path, str]) -> str:
    return listing([f"{path} ({fault})" for path, fault in faults.items()])


@click.command()
@protocol_option
@source_options
@results_option
@click.option("--row", "rows", multiple=True, help="Name of a row; repeatable. Default: all.")
@click.option("--folds", type=Numbers(), help="Folds, such as 0,2. Default: all.")
@model_device_option
def gradcam(
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    rows: tuple[str, ...],
    folds: tuple[int, ...] | None,
    device: str,
) -> int:
    """Draw Grad-CAM of the most confident right and wrong test image of each class and job.

    Writes gradcam/<class>.png into each job's folder. Needs the images, and the checkpoints of
    `run`.
    """
    from bench.workflows.artifacts import best_checkpoint, draw_gradcam, finished_jobs
    from bench.workflows.open import open_bench

    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    jobs = list(finished_jobs(bench, results, rows, folds))
    if not jobs:
        raise ResultsError(
            f"{results}: no finished job of {protocol_name} on {bench.dataset.name} matches; run "
            "it first, or name its folder with --results"
        )
    missing = 0
    for folder, record in jobs:
        path = best_checkpoint(folder, record)
        if path is None:
            missing += 1
            click.echo(f"{folder}: no checkpoint; train it again for Grad-CAM", err=True)
            continue
        click.echo(f"gradcam: {draw_gradcam(bench, folder, record, path, device)}")
    return 1 if missing else 0


@click.command()
@click.option(
    "--checkpoint",
    "given",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A best.safetensors, or a folder of results, whose best models are averaged. Repeatable: "
    "each is a choice on the page.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=7860,
    show_default=True,
    help="Port to listen on.",
)
@model_device_option
@click.option(
    "--export-space",
    "space",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files of a Hugging Face Space into this new folder instead; sends nothing.",
)
@click.option(
    "--licence", help="Licence of the Space, as the hub names it. Default: that of known data."
)
def demo(
    given: tuple[Path, ...],
    host: str,
    port: int,
    device: str,
    space: Path | None,
    licence: str | None,
) -> int:
    """Serve a page that classifies uploaded images, with Grad-CAM. Uses no network.

    Needs requirements-demo.txt. Research software, no medical device.
    """
    if importlib.util.find_spec("gradio") is None:
        raise BenchError("demo needs gradio: pip install -r requirements-demo.txt")
    choices = named_choices(given)
    from bench.api import load_predictor

    predictors = {name: load_predictor(files, device) for name, files in choices.items()}
    if space is not None:
        from bench.workflows.demo import export_space, licence_of

        members = [member for predictor in predictors.values() for member in predictor.members]
        datasets = [str(member.trained_on.get("dataset", "unknown data")) for member in members]
        about = {name: "; ".join(predictor.about()) for name, predictor in predictors.items()}
        export_space(space, choices, about, licence_of(datasets, licence))
        click.echo(f"space: {space}; try it with: cd {space} && python app.py")
        return 0
    from bench.workflows.demo import EXAMPLE_IMAGES, page, serve

    click.echo(f"http://{host}:{port}  (stop with Ctrl-C)")
    serve(page(predictors, sorted(EXAMPLE_IMAGES.glob("*.png"))), host, port)
    return 0


def named_choices(given: Sequence[Path]) -> dict[str, list[Path]]:
    """Checkpoints of each path, by a name that distinguishes the paths."""
    from bench.io import safe_name
    from bench.workflows.artifacts import find_checkpoints

    choices: dict[str, list[Path]] = {}
    for path in given:
        parts = path.resolve().parts
        name = safe_name(["-".join(parts[-2:] if path.is_file() else parts[-1:])])
        if name in choices:
            name = safe_name(["-".join(parts[-6:])])
        choices[name] = find_checkpoints([path])
    return choices
