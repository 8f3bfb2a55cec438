"""TensorBoard writer that continues where an interruption cut the event file.

At the start its switches and a grid of its first augmented images; after each epoch losses, rates,
val metrics (by class, too) and the confusion on val. What an epoch tells is written before its
state is kept: so nothing is missing after an interruption, and what the state does not know yet is
cut off and told again. No loss of a single step is told, since asking a GPU for it makes it wait.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.errors import DataLossError, OutOfRangeError
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.summary.writer.record_writer import RecordWriter

from bench.method import Recipe

GRID_IMAGES, GRID_SIDE, LARGEST = 16, 4, 128
CELL, MARGIN = 44, 60
INK, PAPER = (20, 20, 20), (255, 255, 255)
DEEP = np.array([33, 102, 172])
"""Colour of a cell that holds all images of its row; white holds none."""


def grid_picture(images: np.ndarray) -> Image.Image:
    """The first 16 images (N, 3, H, W) in [0, 1] in rows of four, none larger than 128 pixels."""
    shown = (images[:GRID_IMAGES].clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    side = min(LARGEST, shown.shape[1])
    rows = -(-len(shown) // GRID_SIDE)
    canvas = Image.new("RGB", (GRID_SIDE * side, rows * side), PAPER)
    for number, image in enumerate(shown):
        row, column = divmod(number, GRID_SIDE)
        resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        canvas.paste(resized, (column * side, row * side))
    return canvas


def confusion_picture(counts: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Counts (C, C), truth in rows, each row coloured by the shares of its images."""
    side = MARGIN + CELL * len(classes)
    canvas = Image.new("RGB", (side, side), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, name in enumerate(classes):
        start, middle = MARGIN + row * CELL, MARGIN + row * CELL + CELL // 2
        draw.text((4, middle), name[:9], fill=INK, font=font, anchor="lm")
        draw.text((middle, MARGIN - 8), name[:9], fill=INK, font=font, anchor="ms")
        for column, share in enumerate(shares[row]):
            left = MARGIN + column * CELL
            colour = tuple((share * DEEP + (1 - share) * 255).astype(int).tolist())
            draw.rectangle((left, start, left + CELL - 2, start + CELL - 2), fill=colour)
            ink = PAPER if share > 0.5 else INK  # noqa: PLR2004 - half-way between the colours
            count = str(counts[row, column])
            draw.text((left + CELL // 2, middle), count, fill=ink, font=font, anchor="mm")
    draw.text((4, 12), "rows: truth\ncolumns: called", fill=INK, font=font)
    return canvas


EVENTS = "events.out.tfevents.training"
FRAME_BYTES = 16
"""Of a record beside its content: length and two checksums."""


class NoWriter:
    """Tells nobody."""

    def begin(self, epochs: int) -> bool:  # noqa: ARG002 - as Board's
        """Nothing has to be told at the start."""
        return False

    def introduce(self, recipe: Recipe, images: np.ndarray) -> None:
        """Hear and forget."""

    def evaluated(self, prefix: str, labels: np.ndarray, probs: np.ndarray) -> None:
        """Hear and forget."""

    def epoch(self, row: Mapping[str, float], rates: Sequence[float]) -> None:
        """Hear and forget."""


class TensorBoardWriter:
    """The event file of one training. Steps are epochs: 0 the start, 1 the first epoch's end."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.path, self.classes = folder / EVENTS, classes
        self.gathered: list[Summary.Value] = []

    def begin(self, epochs: int) -> bool:
        """Go on after so many epochs; whether nothing at all has been told yet."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.gathered.clear()
        whole = _bytes_until(self.path, epochs) if self.path.exists() else 0
        with self.path.open("ab") as stream:
            stream.truncate(whole)
        return whole == 0

    def introduce(self, recipe: Recipe, images: np.ndarray) -> None:
        """Tell every switch, and show images (N, 3, H, W) in [0, 1] as the training sees them."""
        switches = {name: _plain(value) for name, value in recipe.model_dump().items()}
        # the start's time makes no difference to what was trained
        session = hparams.hparams_pb(switches, start_time_secs=0)
        grid = _image("training images", grid_picture(images), kind="JPEG")
        self._write(
            Event(wall_time=time.time(), file_version="brain.Event:2"),
            Event(wall_time=time.time(), step=0, summary=Summary(value=[*session.value, grid])),
        )

    def evaluated(self, prefix: str, labels: np.ndarray, probs: np.ndarray) -> None:
        """Hold ready what labels (N,) and probabilities (N, C) of val say class by class.

        What is undefined, such as the precision of a class never called, is left out.
        """
        known, called = np.arange(len(self.classes)), probs.argmax(axis=1)
        found = precision_recall_fscore_support(labels, called, labels=known, zero_division=np.nan)
        for measure, values in zip(("precision", "recall", "f1"), found[:3], strict=True):
            self.gathered += [
                Summary.Value(tag=f"{prefix}val_{measure}/{name}", simple_value=value)
                for name, value in zip(self.classes, values, strict=True)
                if np.isfinite(value)
            ]
        counts = confusion_matrix(labels, called, labels=known)
        self.gathered.append(
            _image(f"{prefix}val_confusion", confusion_picture(counts, self.classes))
        )

    def epoch(self, row: Mapping[str, float], rates: Sequence[float]) -> None:
        """Tell an epoch: its row of the history, and the learning rate of each group."""
        told = {name: value for name, value in row.items() if name != "epoch"}
        if len(rates) > 1:
            told |= {f"lr_by_group/{number}": rate for number, rate in enumerate(rates)}
        self.gathered += [Summary.Value(tag=tag, simple_value=value) for tag, value in told.items()]
        summary = Summary(value=self.gathered)
        self._write(Event(wall_time=time.time(), step=int(row["epoch"]), summary=summary))
        self.gathered.clear()

    def _write(self, *events: Event) -> None:
        content = io.BytesIO()
        for event in events:
            RecordWriter(content).write(event.SerializeToString())
        with self.path.open("ab") as stream:
            stream.write(content.getvalue())
            stream.flush()
            os.fsync(stream.fileno())


def open_writer(folder: Path | None, classes: Sequence[str]) -> TensorBoardWriter | NoWriter:
    """The board of a folder; without one nobody is told."""
    return NoWriter() if folder is None else TensorBoardWriter(folder, classes)


def _bytes_until(path: Path, epochs: int) -> int:
    """How many bytes of an event file are whole and tell of the first so many epochs alone."""
    reader, whole = PyRecordReader_New(str(path)), 0
    try:
        while True:
            reader.GetNext()
            record = reader.record()
            if Event.FromString(record).step > epochs:
                return whole
            whole += FRAME_BYTES + len(record)
    except (OutOfRangeError, DataLossError):
        return whole


def _plain(value: object) -> bool | float | str:
    """A switch's value as TensorBoard's hyperparameters know it."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def _image(tag: str, picture: Image.Image, kind: str = "PNG") -> Summary.Value:
    content = io.BytesIO()
    picture.save(content, format=kind)
    width, height = picture.size
    encoded = Summary.Image(
        width=width, height=height, colorspace=3, encoded_image_string=content.getvalue()
    )
    return Summary.Value(tag=tag, image=encoded)
