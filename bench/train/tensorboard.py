"""TensorBoard writer of one training, and its null variant.

At the start: all recipe options as hyperparameters and a grid of the first augmented images. After
each epoch: losses, learning rates, val metrics (also by class) and the confusion matrix on val.
Steps are epochs: 0 is the start, 1 the end of the first epoch. There are no losses of single
optimizer steps; reading one would make a GPU wait.

An epoch is written before its checkpoint. After an interruption the writer starts another event
file with `purge_step`, so TensorBoard drops the epochs that the checkpoint does not contain yet and
shows each epoch once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from bench.method import Recipe

GRID_IMAGES, GRID_SIDE, MAX_SIDE = 16, 4, 128
CELL, MARGIN = 44, 60
INK, PAPER = (20, 20, 20), (255, 255, 255)
FULL = np.array([33, 102, 172])
"""Colour of a cell that holds all images of its row; an empty cell is white."""


class NoWriter:
    """Null variant: writes nothing."""

    def begin(self, epochs: int) -> bool:  # noqa: ARG002 - as TensorBoardWriter's
        """No introduction is needed."""
        return False

    def introduce(self, recipe: Recipe, images: np.ndarray) -> None:
        """Do nothing."""

    def validation(self, prefix: str, labels: np.ndarray, probs: np.ndarray, epoch: int) -> None:
        """Do nothing."""

    def epoch(self, row: Mapping[str, float], rates: Sequence[float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoardWriter:
    """Writes the event files of one training into a folder."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder, self.classes = folder, classes
        self.writer: Any = None

    def begin(self, epochs: int) -> bool:
        """Continue after a number of finished epochs; True if the introduction is missing."""
        from torch.utils.tensorboard import SummaryWriter

        first = epochs == 0 or not any(self.folder.glob("events.*"))
        purge_step = 0 if first else epochs + 1
        self.writer = SummaryWriter(str(self.folder), purge_step=purge_step)
        return first

    def introduce(self, recipe: Recipe, images: np.ndarray) -> None:
        """Write all options, and images (N, 3, H, W) in [0, 1] as the training gets them."""
        from torch.utils.tensorboard.summary import hparams

        options = {name: _hyperparameter(value) for name, value in recipe.model_dump().items()}
        _, session, _ = hparams(options, {})  # type: ignore[no-untyped-call]
        self.writer.file_writer.add_summary(session)
        self._image("training images", grid_picture(images), 0)
        self.writer.flush()

    def validation(self, prefix: str, labels: np.ndarray, probs: np.ndarray, epoch: int) -> None:
        """Write class metrics and confusion matrix of labels (N,) and probabilities (N, C) of val.

        Undefined values, such as the precision of a class that is never predicted, are left out.
        """
        known, predicted = np.arange(len(self.classes)), probs.argmax(axis=1)
        metrics = precision_recall_fscore_support(
            labels, predicted, labels=known, zero_division=np.nan
        )
        for metric, values in zip(("precision", "recall", "f1"), metrics[:3], strict=True):
            for name, value in zip(self.classes, values, strict=True):
                if np.isfinite(value):
                    self.writer.add_scalar(f"{prefix}val_{metric}/{name}", value, epoch)
        counts = confusion_matrix(labels, predicted, labels=known)
        self._image(f"{prefix}val_confusion", confusion_picture(counts, self.classes), epoch)

    def epoch(self, row: Mapping[str, float], rates: Sequence[float]) -> None:
        """Write an epoch's row of the history and the learning rate of each group, to disk."""
        epoch = int(row["epoch"])
        values = {name: value for name, value in row.items() if name != "epoch"}
        if len(rates) > 1:
            values |= {f"lr_by_group/{number}": rate for number, rate in enumerate(rates)}
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def close(self) -> None:
        """Write what is left and close the event file."""
        if self.writer is not None:
            self.writer.close()

    def _image(self, tag: str, picture: Image.Image, epoch: int) -> None:
        self.writer.add_image(tag, np.asarray(picture), epoch, dataformats="HWC")


def open_writer(folder: Path | None, classes: Sequence[str]) -> TensorBoardWriter | NoWriter:
    """The writer of a folder; the null variant without one."""
    return NoWriter() if folder is None else TensorBoardWriter(folder, classes)


def _hyperparameter(value: object) -> bool | float | str:
    """A value of a type that TensorBoard's hyperparameters accept."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def grid_picture(images: np.ndarray) -> Image.Image:
    """The first 16 images (N, 3, H, W) in [0, 1] in rows of four, at most 128 pixels wide each."""
    shown = (images[:GRID_IMAGES].clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    side = min(MAX_SIDE, shown.shape[1])
    rows = -(-len(shown) // GRID_SIDE)
    canvas = Image.new("RGB", (GRID_SIDE * side, rows * side), PAPER)
    for number, image in enumerate(shown):
        row, column = divmod(number, GRID_SIDE)
        resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        canvas.paste(resized, (column * side, row * side))
    return canvas


def confusion_picture(counts: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Confusion matrix (C, C) with truth in rows; the colour is the share of the row's images."""
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
            colour = tuple((share * FULL + (1 - share) * 255).astype(int).tolist())
            draw.rectangle((left, start, left + CELL - 2, start + CELL - 2), fill=colour)
            ink = PAPER if share > 0.5 else INK  # noqa: PLR2004 - half-way between the colours
            count = str(counts[row, column])
            draw.text((left + CELL // 2, middle), count, fill=ink, font=font, anchor="mm")
    draw.text((4, 12), "rows: truth\ncolumns: predicted", fill=INK, font=font)
    return canvas
