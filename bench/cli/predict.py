"""`predict`: what trained models say of image files, with warnings and pictures."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.cli.checkpoints import meant_checkpoints
from bench.cli.places import model_device_option, refuse_unwritable
from bench.errors import DataError, listing
from bench.foreign import text_cell
from bench.notice import NO_DEVICE

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
    from bench.train.panel import Panel

    panel = Panel.load(checkpoints, device, calibrated=not uncalibrated)
    answers = _ask(panel, files, pictures)
    if not answers.opinions:
        raise DataError(f"no image can be read: {_told(answers.faults)}")
    text = (_as_csv if kind == "csv" else _as_json)(panel, answers, checkpoints)
    if file is None:
        click.echo(text, nl=False)
    else:
        from bench.files import write_atomically

        write_atomically(file, text.encode())
    _report(panel, answers, device)
    return 1 if answers.faults else 0


def image_files(given: Sequence[Path]) -> list[Path]:
    """The files given, and those below the folders given, each once.

    Raises DataError for what is not there, is no file, or a folder without any image.
    """
    from bench.data.images import SUFFIXES
    from bench.files import waiting_kind

    found: list[Path] = []
    for path in given:
        kind = waiting_kind(path)
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
            _draw(panel, images, answers, pictures)
    return answers


def _decoded(files: Sequence[Path], faults: dict[Path, str]) -> Iterator[tuple[Path, np.ndarray]]:
    """The images that can be read; of the others, why not."""
    from bench.data.images import decode, read_picture

    for path in files:
        try:
            yield path, decode(read_picture(path))
        except (OSError, ValueError) as error:
            faults[path] = getattr(error, "strerror", None) or str(error)


def _draw(panel: Any, images: dict[Path, np.ndarray], answers: Answers, folder: Path) -> None:
    from bench.train.cam_sheet import write_sheet

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
    from bench.train.panel import describe

    content = {
        "notice": NO_DEVICE,
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
    for sentence in (*said, NO_DEVICE):
        click.echo(sentence, err=True)


def _told(faults: dict[Path, str]) -> str:
    return listing([f"{path} ({fault})" for path, fault in faults.items()])
