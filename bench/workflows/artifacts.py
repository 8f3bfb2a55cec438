"""Use trained models: checkpoints that a user names, predictions, Grad-CAM, pictures for pages."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.data.images import SUFFIXES, decode, find_images, read_picture
from bench.errors import BenchError, DataError, MethodError, ResultsError, listing
from bench.io import safe_name, sha256_of, special_file_kind
from bench.job import RunRecord
from bench.leaderboard import HighLossImage, RowReport
from bench.report.row_page import Pictured
from bench.run.results import PREDICTIONS, read_predictions, read_record, records, visible
from bench.workflows.events import Message, OnEvent, Progress, ignore
from bench.workflows.open import OpenBench

if TYPE_CHECKING:  # torch is loaded only where a model is used
    from bench.train.predictor import Classifier, EnsemblePredictor, Prediction

AT_ONCE = 64
"""Images held in memory together."""
SUFFIX = ".safetensors"


def best_checkpoint(folder: Path, record: RunRecord) -> Path | None:
    """A job's best checkpoint, if it is there. Raises ResultsError where its hash differs."""
    kind = "best_ema" if record.facts.get("selected_weights") == "ema" else "best"
    path = folder / "checkpoints" / f"{kind}{SUFFIX}"
    if not path.is_file():
        return None
    stated = record.files.get(path.relative_to(folder).as_posix())
    if stated != sha256_of(path):
        raise ResultsError(
            f"{path}: sha256 differs from record.json beside it; remove {folder} and run again"
        )
    return path


def find_checkpoints(given: Sequence[Path]) -> list[Path]:
    """Checkpoints that paths name: a file, or the best of every finished job below a folder.

    A folder without jobs gives the checkpoints in it. Raises ResultsError where there are none.
    """
    return [found for path in given for found in _checkpoints_at(path)]


def _checkpoints_at(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ResultsError(
            f"{path}: no such checkpoint; give a best{SUFFIX}, or a folder of results that holds "
            "such files"
        )
    found = list(_checkpoints_of_jobs(path)) or sorted(path.glob(f"*{SUFFIX}"))
    if not found:
        raise ResultsError(
            f"{path}: holds no checkpoint of a finished job; train one first (python bench.py run)"
        )
    return found


def _checkpoints_of_jobs(folder: Path) -> Iterator[Path]:
    for mark in visible(folder, "**/record.json"):
        record = read_record(mark.parent)
        best = None if record is None else best_checkpoint(mark.parent, record)
        if best is not None:
            yield best


def finished_jobs(
    bench: OpenBench,
    results: Path,
    rows: Sequence[str] = (),
    folds: Sequence[int] | None = None,
) -> Iterator[tuple[Path, RunRecord]]:
    """Finished jobs of some rows and folds; empty or None: all.

    Raises ResultsError for an unknown row.
    """
    dataset = bench.dataset
    mine = [
        (folder, record)
        for folder, record in records(results, bench.protocol.name, dataset.name)
        if record.job.roster_sha256 == dataset.roster_sha256
        and record.job.roles_sha256 == bench.roles_sha256
        and record.job.classes == dataset.classes
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


@dataclass
class ImagePredictions:
    """Predictions of image files, by file; files that cannot be read, each with its fault.

    reading, inference  seconds
    """

    predictions: dict[Path, Prediction] = field(default_factory=dict)
    faults: dict[Path, str] = field(default_factory=dict)
    reading: float = 0.0
    inference: float = 0.0


def image_files(given: Sequence[Path]) -> list[Path]:
    """The files given, and image files below the folders given, each once.

    Raises DataError for a path that does not exist or is not a file, or a folder without images.
    """
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


def predict_files(
    predictor: EnsemblePredictor,
    files: Sequence[Path],
    gradcam: Path | None = None,
    on_event: OnEvent = ignore,
) -> ImagePredictions:
    """Predict image files, some at a time; with `gradcam`, write a picture of each into it.

    Raises DataError where two files of one name would share a picture.
    """
    from bench.train.predictor import write_sheet

    if gradcam is not None:
        _refuse_same_stem(files)
    found = ImagePredictions()
    for start in range(0, len(files), AT_ONCE):
        begun = time.perf_counter()
        images = dict(_decoded(files[start : start + AT_ONCE], found.faults))
        read = time.perf_counter()
        if images:
            predictions = predictor.predict(list(images.values()))
            found.predictions |= dict(zip(images, predictions, strict=True))
        found.reading += read - begun
        found.inference += time.perf_counter() - read
        if gradcam is not None:
            for path, image in images.items():
                picture = predictor.picture(path.name, image, found.predictions[path])
                write_sheet(picture, gradcam / f"{path.stem}.png")
        on_event(Progress("predictions", min(start + AT_ONCE, len(files)), len(files)))
    return found


def _refuse_same_stem(files: Sequence[Path]) -> None:
    names = [path.stem for path in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"--gradcam: images of the same name would share a picture: {listing(twice)}; "
            "predict their folders one at a time"
        )


def _decoded(files: Sequence[Path], faults: dict[Path, str]) -> Iterator[tuple[Path, np.ndarray]]:
    """Images that can be read; the fault of every other goes into `faults`."""
    for path in files:
        try:
            yield path, decode(read_picture(path))
        except (OSError, ValueError) as error:
            faults[path] = getattr(error, "strerror", None) or str(error)


def draw_gradcam(
    bench: OpenBench, folder: Path, record: RunRecord, checkpoint: Path, device: str
) -> Path:
    """Write Grad-CAM sheets of a job, one a class; give their folder.

    Each shows the most confident right and the most confident wrong test image of the class.
    """
    from bench.score.row_report import most_confident
    from bench.train.predictor import Example, load_classifier, sheet, write_sheet

    dataset, job = bench.dataset, record.job
    predictions = read_predictions(folder / PREDICTIONS, job.classes)
    code = dict(zip(dataset.image_ids.tolist(), dataset.labels.tolist(), strict=True))
    labels = np.array([code[image_id] for image_id in predictions.image_ids])
    files = find_images(bench.source)
    classifier = load_classifier(checkpoint, device)
    data = "SYNTHETIC data" if dataset.synthetic else dataset.name
    title = (
        f"{job.row}, fold {job.fold}, {data}: image, map of the predicted class, of the true class"
    )
    for label, name in enumerate(job.classes):
        examples = []
        pairs = zip(("right", "wrong"), most_confident(predictions, labels, label), strict=True)
        for word, shown in pairs:
            if shown is None:
                examples.append(Example(f"{word}: no test image of {name}"))
                continue
            caption = (
                f"{word}: {shown.image_id}, {name}, predicted {job.classes[shown.called]} "
                f"(p {shown.probability:.2f})"
            )
            image = decode(files[shown.image_id].read_bytes())
            examples.append(Example(caption, image, label, shown.called))
        target = folder / "gradcam" / f"{safe_name([name])}.png"
        write_sheet(sheet(classifier, title, examples), target)
    return folder / "gradcam"


SIDE = 128
QUALITY = 80


def highest_loss_pictures(
    bench: OpenBench,
    results: Path,
    reports: Mapping[str, RowReport],
    on_event: OnEvent = ignore,
) -> dict[str, dict[str, Pictured]]:
    """Small pictures of every row's highest-loss images, by row and image id.

    With Grad-CAM of the predicted class where `results` holds the checkpoint that tested an image.
    Raises DataError for missing images, ResultsError for a checkpoint of another hash.
    """
    from bench.report.row_page import images_to_picture

    files = find_images(bench.source)
    checkpoints = _checkpoints_by_fold(bench, results)
    found: dict[str, dict[str, Pictured]] = {}
    for row, report in reports.items():
        images = images_to_picture(report)
        pixels = {image.image_id: decode(files[image.image_id].read_bytes()) for image in images}
        found[row] = _pictures_of(row, images, pixels, checkpoints, on_event)
    return found


def _checkpoints_by_fold(bench: OpenBench, results: Path) -> dict[tuple[str, int], Path]:
    """The best checkpoint of every row and fold, of the first of the protocol's seeds."""
    found = {}
    for folder, record in finished_jobs(bench, results):
        job = record.job
        if job.seed == bench.protocol.run.seeds[0] and job.repeat == 0:
            path = best_checkpoint(folder, record)
            if path is not None:
                found[job.row, job.fold] = path
    return found


def _pictures_of(
    row: str,
    images: Sequence[HighLossImage],
    pixels: Mapping[str, np.ndarray],
    checkpoints: Mapping[tuple[str, int], Path],
    on_event: OnEvent,
) -> dict[str, Pictured]:
    classifiers: dict[int, Classifier | None] = {}
    found = {}
    for image in images:
        path = checkpoints.get((row, image.fold))
        if path is not None and image.fold not in classifiers:
            classifiers[image.fold] = _classifier(path, on_event)
        classifier = classifiers.get(image.fold)
        own = pixels[image.image_id]
        heat = b"" if classifier is None else _gradcam(classifier, own, image.called, on_event)
        found[image.image_id] = Pictured(_jpeg(own), heat)
    return found


def _classifier(path: Path, on_event: OnEvent) -> Classifier | None:
    from bench.train.predictor import load_classifier

    try:
        return load_classifier(path)
    except BenchError as error:
        on_event(Message(f"no Grad-CAM: {error}", "warning"))
        return None


def _gradcam(classifier: Classifier, image: np.ndarray, predicted: str, on_event: OnEvent) -> bytes:
    from bench.train.predictor import explained

    try:
        return _jpeg(explained(classifier, image, classifier.classes.index(predicted)))
    except MethodError as error:
        on_event(Message(f"no Grad-CAM: {error}", "warning"))
        return b""


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
