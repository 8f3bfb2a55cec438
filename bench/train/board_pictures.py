"""The two pictures that a training shows on TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
