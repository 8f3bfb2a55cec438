"""`predict`, `gradcam`, `demo`: use trained models."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.cli.options import (
    Numbers,
    model_device_option,
    protocol_option,
    refuse_unwritable,
    results_option,
    source_options,
)
from bench.data.open import DatasetSpec
from bench.errors import BenchError, DataError, ResultsError, listing
from bench.io import safe_name, text_cell
from bench.settings import DISCLAIMER
from bench.workflows.artifacts import best_checkpoint, finished_jobs, meant_checkpoints
from bench.workflows.report import Bench, open_bench, print_data

AT_ONCE = 64
"""Images that are held in memory together."""


@dataclass
class Answers:
    """What was found: an opinion by file, files that cannot be read with their faults, seconds."""

    opinions: dict[Path, Any] = field(default_factory=dict)
    faults: dict[Path, str] = field(default_factory=dict)
    reading: float = 0.0
    thinking: float = 0.0


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
    help="Of the predictions.",
)
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the predictions. Default: the terminal.",
)
@click.option(
    "--gradcam",
    "pictures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a picture of each image, beside it where the models looked.",
)
@click.option(
    "--uncalibrated",
    is_flag=True,
    help="As in the models' rows. Default: tempered by what was fitted on val.",
)
@model_device_option
def predict(
    given: tuple[Path, ...],
    images: tuple[Path, ...],
    kind: str,
    file: Path | None,
    pictures: Path | None,
    device: str,
    *,
    uncalibrated: bool,
) -> int:
    """Classify image files, or all JPEG and PNG files below folders, by trained models.

    Warns of images unlike those that the models were trained on. Exit 1 where some files cannot be
    read; the others are told. Research software, no medical device.
    """
    files = image_files(images)
    if pictures is not None:
        _refuse_twins(files)
        refuse_unwritable("--gradcam", pictures / "probe")
    if file is not None:
        refuse_unwritable("--to", file)
    checkpoints = meant_checkpoints(given)
    from bench.train.predictor import EnsemblePredictor

    panel = EnsemblePredictor.load(checkpoints, device, calibrated=not uncalibrated)
    answers = _ask(panel, files, pictures)
    if not answers.opinions:
        raise DataError(f"no image can be read: {_told(answers.faults)}")
    text = (_as_csv if kind == "csv" else _as_json)(panel, answers, checkpoints)
    if file is None:
        click.echo(text, nl=False)
    else:
        from bench.io import write_atomically

        write_atomically(file, text.encode())
    _report(panel, answers, device)
    return 1 if answers.faults else 0


def image_files(given: Sequence[Path]) -> list[Path]:
    """The files given, and those below the folders given, each once.

    Raises DataError for what is not there, is no file, or a folder without any image.
    """
    from bench.data.images import SUFFIXES
    from bench.io import special_file_kind

    found: list[Path] = []
    for path in given:
        kind = special_file_kind(path)
        if kind or not path.exists():
            what = f"is {kind}, not a file" if kind else "no such file or folder"
            raise DataError(f"{path}: {what}; give image files, or folders of them")
        if not path.is_dir():
            found.append(path)
            continue
        below = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
        below = [each for each in below if each.is_file()]
        if not below:
            raise DataError(f"{path}: no JPEG or PNG file below this folder")
        found += below
    return list(dict.fromkeys(found))


def _refuse_twins(files: Sequence[Path]) -> None:
    names = [path.stem for path in files]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise DataError(
            f"--gradcam: images of the same name would share a picture: {listing(twins)}; "
            "predict their folders one at a time"
        )


def _ask(panel: Any, files: Sequence[Path], pictures: Path | None) -> Answers:
    """Read the files and ask the panel, some at a time."""
    answers = Answers()
    for start in range(0, len(files), AT_ONCE):
        begun = time.perf_counter()
        images = dict(_decoded(files[start : start + AT_ONCE], answers.faults))
        read = time.perf_counter()
        if images:
            opinions = panel.opinions(list(images.values()))
            answers.opinions |= dict(zip(images, opinions, strict=True))
        answers.reading += read - begun
        answers.thinking += time.perf_counter() - read
        if pictures is not None:
            _draw_overlays(panel, images, answers, pictures)
    return answers


def _decoded(files: Sequence[Path], faults: dict[Path, str]) -> Iterator[tuple[Path, np.ndarray]]:
    """The images that can be read; of the others, why not."""
    from bench.data.images import decode, read_picture

    for path in files:
        try:
            yield path, decode(read_picture(path))
        except (OSError, ValueError) as error:
            faults[path] = getattr(error, "strerror", None) or str(error)


def _draw_overlays(
    panel: Any, images: dict[Path, np.ndarray], answers: Answers, folder: Path
) -> None:
    from bench.train.predictor import write_sheet

    for path, image in images.items():
        picture = panel.picture(path.name, image, answers.opinions[path])
        write_sheet(picture, folder / f"{path.stem}.png")


def _as_csv(panel: Any, answers: Answers, _: Sequence[Path]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"p_{name}" for name in panel.classes]
    writer.writerow(["image", "called", *names, "warnings"])
    for path, opinion in answers.opinions.items():
        shares = [f"{share:.6f}" for share in opinion.probs]
        image, called = text_cell(str(path)), text_cell(panel.classes[opinion.called])
        writer.writerow([image, called, *shares, text_cell("; ".join(opinion.warnings))])
    return text.getvalue()


def _as_json(panel: Any, answers: Answers, checkpoints: Sequence[Path]) -> str:
    from bench.train.predictor import describe

    content = {
        "notice": DISCLAIMER,
        "classes": panel.classes,
        "models": [
            {"checkpoint": str(path), **describe(member)}
            for path, member in zip(checkpoints, panel.members, strict=True)
        ],
        "images": [
            {
                "image": str(path),
                "called": panel.classes[opinion.called],
                "probabilities": {
                    name: round(float(share), 6)
                    for name, share in zip(panel.classes, opinion.probs, strict=True)
                },
                "warnings": opinion.warnings,
            }
            for path, opinion in answers.opinions.items()
        ],
        "unreadable": {str(path): fault for path, fault in answers.faults.items()},
        "seconds": {"reading": answers.reading, "models": answers.thinking},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _report(panel: Any, answers: Answers, device: str) -> None:
    """What a person should know, beside the predictions."""
    said: list[str] = list(panel.about())
    warned = sum(1 for opinion in answers.opinions.values() if opinion.warnings)
    if warned:
        said.append(f"WARNING: warnings stand beside {warned} of {len(answers.opinions)} images")
    if answers.faults:
        said.append(f"{len(answers.faults)} files cannot be read: {_told(answers.faults)}")
    seconds = answers.reading + answers.thinking
    count = len(answers.opinions)
    rate = count / max(seconds, 1e-9)
    said.append(
        f"{count} images in {seconds:.2f} s, {rate:.0f} a second on {device}: "
        f"{answers.reading:.2f} s reading, {answers.thinking:.2f} s models"
    )
    for sentence in (*said, DISCLAIMER):
        click.echo(sentence, err=True)


def _told(faults: dict[Path, str]) -> str:
    return listing([f"{path} ({fault})" for path, fault in faults.items()])


@click.command()
@protocol_option
@source_options
@results_option
@click.option("--row", "rows", multiple=True, help="A row's name; repeatable. Default: all.")
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
        _draw_gradcam(bench, folder, record, path, device)
        click.echo(f"gradcam: {folder / 'gradcam'}")
    return 1 if without else 0


def _draw_gradcam(bench: Bench, folder: Path, record: Any, checkpoint: Path, device: str) -> None:
    """A picture a class into the job's folder."""
    import numpy as np

    from bench.data.images import decode, find_images
    from bench.io import safe_name
    from bench.run.results import PREDICTIONS, read_predictions
    from bench.score.row_report import most_confident
    from bench.train.predictor import Example, load_classifier, sheet, write_sheet

    manifest, job = bench.source.manifest, record.job
    predictions = read_predictions(folder / PREDICTIONS, job.classes)
    code = dict(zip(manifest.image_ids.tolist(), manifest.labels.tolist(), strict=True))
    labels = np.array([code[image_id] for image_id in predictions.image_ids])
    files = find_images(bench.source)
    classifier = load_classifier(checkpoint, device)
    data = "SYNTHETIC data" if manifest.synthetic else manifest.name
    for label, name in enumerate(job.classes):
        examples = []
        for word, shown in zip(
            ("right", "wrong"), most_confident(predictions, labels, label), strict=True
        ):
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


@click.command()
@click.option(
    "--checkpoint",
    "given",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A best.safetensors, or a folder of results, whose best ones are averaged. Repeatable: "
    "each is a model to choose.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=7860,
    show_default=True,
    help="Port to listen at.",
)
@model_device_option
@click.option(
    "--export-space",
    "space",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files of a Hugging Face Space into this new folder instead; sends nothing.",
)
@click.option("--licence", help="Of the Space, in the hub's words. Default: that of known data.")
def demo(
    given: tuple[Path, ...],
    host: str,
    port: int,
    device: str,
    space: Path | None,
    licence: str | None,
) -> int:
    """Show a page that classifies uploaded images, with Grad-CAM. It needs no network.

    Needs requirements-demo.txt. Research software, no medical device.
    """
    if importlib.util.find_spec("gradio") is None:
        raise BenchError("demo needs gradio: pip install -r requirements-demo.txt")
    choices = named_choices(given)
    from bench.train.predictor import EnsemblePredictor

    panels = {name: EnsemblePredictor.load(files, device) for name, files in choices.items()}
    if space is not None:
        from bench.workflows.demo import export_space, licence_of

        members = [member for panel in panels.values() for member in panel.members]
        datasets = [str(member.trained_on.get("dataset", "unknown data")) for member in members]
        about = {name: "; ".join(panel.about()) for name, panel in panels.items()}
        export_space(space, choices, about, licence_of(datasets, licence))
        click.echo(f"space: {space}; try it with: cd {space} && python app.py")
        return 0
    from bench.workflows.demo import EXAMPLE_IMAGES, page, serve

    click.echo(f"http://{host}:{port}  (stop with Ctrl-C)")
    serve(page(panels, sorted(EXAMPLE_IMAGES.glob("*.png"))), host, port)
    return 0


def named_choices(given: Sequence[Path]) -> dict[str, list[Path]]:
    """The checkpoints meant by each path, by a name that tells the paths apart."""
    choices: dict[str, list[Path]] = {}
    for path in given:
        parts = path.resolve().parts
        name = safe_name(["-".join(parts[-2:] if path.is_file() else parts[-1:])])
        if name in choices:
            name = safe_name(["-".join(parts[-6:])])
        choices[name] = meant_checkpoints([path])
    return choices
