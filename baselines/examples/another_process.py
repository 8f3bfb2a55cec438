"""another_process: a method whose learning is done by another program, of its own environment.

source     this project; scikit-learn's perceptron stands in for whatever framework you have
licence    MIT; scikit-learn BSD-3-Clause
pretrained no
measured   2026-11-23, HAM10000 at 200x150, resized to 16 px, 30 epochs, five folds, lesion-level
           (the row is not committed):
           macro-F1 0.404 [0.386, 0.424], balanced accuracy 0.387 [0.369, 0.405]
time       22 s of processor time in all for the five jobs, one thread each
command    python bench.py run --protocol groupkfold5 --data ../shared/data/ham10000
           --method another_process
"""

import os
import subprocess
import sys

import numpy as np

from bench.method import FoldTask, Method, Part, Recipe
from bench.predictions import Predictions

PYTHON = os.environ.get("OTHER_PYTHON", sys.executable)
"""The interpreter of the other framework's environment; the bench need not be installed there."""

PROGRAM = """
import sys
import numpy as np
from sklearn.neural_network import MLPClassifier

given = np.load(sys.argv[1])
flat = {part: given[part].reshape(len(given[part]), -1) / 255 for part in ("train", "val", "test")}
mean, spread = flat["train"].mean(axis=0), flat["train"].std(axis=0) + 1e-3
flat = {part: (pixels - mean) / spread for part, pixels in flat.items()}
model = MLPClassifier((64,), learning_rate_init=float(given["lr"]), random_state=int(given["seed"]))
for epoch in range(int(given["epochs"])):
    model.partial_fit(flat["train"], given["labels"], classes=np.arange(given["classes"]))
np.savez(sys.argv[2], val=model.predict_proba(flat["val"]), test=model.predict_proba(flat["test"]))
"""
"""The other program. It stands here, not in a file beside, so that changing it is seen: a job's
identity holds the hash of this file."""


def fit_predict(task: FoldTask) -> Predictions:
    """Hand pixels and train's labels over in a file, wait, read probabilities back.

    If the bench stops the job, the other program is stopped with it. It is given images by
    position, and what comes back is joined to their ids here.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    given, made = task.folder / "given.npz", task.folder / "made.npz"
    np.savez(
        given,
        train=pixels(task.train), labels=task.train.labels, val=pixels(task.val),
        test=pixels(task.test), classes=len(task.classes), epochs=task.recipe.epochs,
        lr=task.recipe.lr, seed=1000 * task.seed + task.column,
    )  # fmt: skip
    threads = {name: str(task.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [PYTHON, "-c", PROGRAM, str(given), str(made)]
    subprocess.run(command, check=True, env=os.environ | threads)
    with np.load(made) as found:
        val, test = found["val"], found["test"]
    given.unlink()
    task.journal.val_predictions(Predictions(task.val.image_ids, val, task.classes))
    return Predictions(task.test.image_ids, test, task.classes)


def pixels(part: Part) -> np.ndarray:
    """All images of a part (N, S, S, 3) uint8."""
    return part.images.take(np.arange(len(part)))


METHOD = Method(
    name="another_process",
    recipe=Recipe(image_size=16, epochs=30, lr=1e-3, pretraining_data="none"),
    fit_predict=fit_predict,
)
