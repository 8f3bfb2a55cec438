"""An image on its way through the chain: what it looks like after each step, and at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from bench.data.preprocess import Chain, RemoveHair

HEIGHT, CAPTION, MARGIN = 300, 26, 4
REPEATS = 3


class Stage(NamedTuple):
    """An image (H, W, 3) uint8 RGB after a step; seconds of the processor, None where the stage is
    no step of its own."""

    name: str
    image: np.ndarray
    seconds: float | None


def watch(content: bytes, decode: Callable[[bytes], np.ndarray], chain: Chain) -> list[Stage]:
    """Every stage of an image file's way through a chain, the hair mask among them.

    A step's cost is that of the fastest of some repeats on one thread, as a store is built.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        image, seconds = _timed(lambda: decode(content))
        stages = [Stage("decode", image, seconds)]
        for step in chain:
            if isinstance(step, RemoveHair):
                mask = step.mask(image)
                stages.append(Stage("hair mask", np.repeat(mask[..., None], 3, axis=2), None))
            image, seconds = _timed(partial(step, image))
            stages.append(Stage(step.name, image, seconds))
    finally:
        cv2.setNumThreads(threads)
    return stages


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    spent = []
    for _ in range(REPEATS):
        start = time.thread_time()
        result = work()
        spent.append(time.thread_time() - start)
    return result, min(spent)


def panel(stages: Sequence[Stage]) -> np.ndarray:
    """The stages side by side with their names and costs, (H, W, 3) uint8 RGB."""
    pictures = []
    for stage in stages:
        height, width = stage.image.shape[:2]
        shown = cv2.resize(
            stage.image, (max(1, round(width * HEIGHT / height)), HEIGHT),
            interpolation=cv2.INTER_AREA if height > HEIGHT else cv2.INTER_NEAREST,
        )  # fmt: skip
        framed = cv2.copyMakeBorder(
            shown, CAPTION, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255)
        )
        cost = "" if stage.seconds is None else f" {stage.seconds * 1000:.1f} ms"
        place = (MARGIN, CAPTION - 8)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(framed, stage.name + cost, place, font, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        pictures.append(framed)
    return np.hstack(pictures)
