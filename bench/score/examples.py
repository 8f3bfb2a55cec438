"""Examples of right and wrong: the test images that Grad-CAM is shown for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.predictions import Predictions


@dataclass(frozen=True)
class Shown:
    """An image by id, the class it was called, and how sure that was."""

    image_id: str
    called: int
    probability: float


def surest(
    predictions: Predictions, labels: np.ndarray, label: int
) -> tuple[Shown | None, Shown | None]:
    """Of the images of a class, the surest right and the surest wrong one; None where none is.

    labels (N,) in the order of the predictions. The surest rather than any: a rule without a draw,
    and the mistakes made with the most conviction are the ones to look at. Ties go to the first id.
    """
    called, sure = predictions.probs.argmax(axis=1), predictions.probs.max(axis=1)
    order = np.lexsort((predictions.image_ids.astype(str), -sure))
    found = []
    for right in (True, False):
        fits = [i for i in order if labels[i] == label and (called[i] == label) is np.bool_(right)]
        found.append(
            Shown(str(predictions.image_ids[fits[0]]), int(called[fits[0]]), float(sure[fits[0]]))
            if fits
            else None
        )
    return found[0], found[1]
