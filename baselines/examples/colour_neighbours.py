"""colour_neighbours: the nearest neighbours by colour histogram; it knows no shape.

source     this project, on scikit-learn; histograms of 8 x 8 x 8 colours, Hellinger distance
licence    MIT; scikit-learn BSD-3-Clause
pretrained no
chosen     how many neighbours have a say, by the log loss on val
measured   2026-11-23, HAM10000 at 200x150, resized to 64 px, five folds, lesion-level:
           macro-F1 0.274 [0.262, 0.285], balanced accuracy 0.251 [0.242, 0.260]
time       24 s in all for the five jobs, one thread each, on 2 cores that did other work as well
command    python bench.py run --protocol groupkfold5 --data ../shared/data/ham10000
           --method colour_neighbours
"""

import numpy as np
from sklearn.metrics import log_loss
from sklearn.neighbors import NearestNeighbors

from bench.method import FoldTask, Method, Part, Recipe
from bench.predictions import Predictions

LEVELS = 8
CANDIDATES = (1, 3, 5, 9, 15, 25, 41)
BLOCK = 512


def fit_predict(task: FoldTask) -> Predictions:
    """Remember train; let val say how many neighbours have a say."""
    counts = np.bincount(task.train.labels, minlength=len(task.classes))
    most = min(max(CANDIDATES), len(task.train))
    neighbours = NearestNeighbors(n_neighbors=most).fit(histograms(task.train))

    def labels_near(part: Part) -> np.ndarray:
        nearest: np.ndarray = neighbours.kneighbors(histograms(part), return_distance=False)
        return np.asarray(task.train.labels[nearest])

    def shares(near: np.ndarray, many: int) -> np.ndarray:
        """Of the `many` nearest labels and one more voice, which the whole of train has."""
        voices = np.eye(len(task.classes))[near[:, :many]].sum(axis=1)
        return np.asarray((voices + counts / counts.sum()) / (voices.sum(axis=1)[:, None] + 1))

    val = labels_near(task.val)
    known = np.arange(len(task.classes))
    losses = {
        many: log_loss(task.val.labels, shares(val, many), labels=known)
        for many in CANDIDATES
        if many <= most
    }
    many = min(losses, key=lambda candidate: losses[candidate])
    task.journal.fact("neighbours", many)
    task.journal.val_predictions(Predictions(task.val.image_ids, shares(val, many), task.classes))
    return Predictions(task.test.image_ids, shares(labels_near(task.test), many), task.classes)


def histograms(part: Part) -> np.ndarray:
    """Square roots of the shares of LEVELS^3 colours (N, LEVELS^3): Euclid's distance between them
    is Hellinger's between the shares."""
    found = np.empty((len(part), LEVELS**3), np.float32)
    for start in range(0, len(part), BLOCK):
        positions = np.arange(start, min(start + BLOCK, len(part)))
        levels = part.images.take(positions).reshape(len(positions), -1, 3) // (256 // LEVELS)
        colours = levels.astype(np.int64) @ (LEVELS**2, LEVELS, 1)
        for row, image in zip(positions, colours, strict=True):
            found[row] = np.bincount(image, minlength=LEVELS**3)
    return np.asarray(np.sqrt(found / found.sum(axis=1, keepdims=True)))


METHOD = Method(
    name="colour_neighbours",
    recipe=Recipe(image_size=64, pretraining_data="none"),
    fit_predict=fit_predict,
)
