"""Methods broken on purpose, each in one way: the sound one below, and what is put into it."""

from __future__ import annotations

SOUND = '''"""sound: the nearest mean colour."""

import os
import time
from pathlib import Path

import numpy as np

from bench.method import Recipe
from bench.predictions import Predictions

RECIPE = Recipe(pretraining_data="none")


def colours(part):
    pixels = part.images.take(np.arange(len(part))) / 255
    return np.concatenate([pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2))], axis=1)


def shares(part, known, labels, classes):
    distance = ((colours(part)[:, None] - known[None]) ** 2).sum(axis=2)
    near = np.exp(-500 * (distance - distance.min(axis=1, keepdims=True)))
    probs = near @ np.eye(classes)[labels] + 1e-3
    return probs / probs.sum(axis=1, keepdims=True)


def fit_predict(task):
    known, labels, classes = colours(task.train), task.train.labels, len(task.classes)
    # BEFORE
    probs = shares(task.test, known, labels, classes)
    # AFTER
    return Predictions(task.test.image_ids, probs, task.classes)
'''


def sound() -> str:
    """The method before it is broken."""
    return SOUND


def _before(*lines: str) -> str:
    return SOUND.replace("    # BEFORE", "\n".join(f"    {line}" for line in lines))


def _after(*lines: str) -> str:
    return SOUND.replace("    # AFTER", "\n".join(f"    {line}" for line in lines))


BROKEN = {
    "needs what is not there": ("imports", SOUND.replace("import time", "import nothing_there")),
    "never returns": (
        "ends in time",
        _before("time.sleep(3600)"),
    ),
    "prints a gigabyte": (
        "keeps its log short",
        _before("for _ in range(1024):", "    print('x' * 2**20)"),
    ),
    "takes all memory": (
        "keeps to its memory",
        _before(
            "held = []",
            "for _ in range(16):",
            "    held.append(np.ones(2**25))",
            "    time.sleep(0.2)",
        ),
    ),
    "crashes in fold 3": (
        "runs in every fold",
        _before("if task.column == 3:", "    raise ValueError('no such luck')"),
    ),
    "is killed in fold 2": (
        "runs in every fold",
        _before("if task.column == 2:", "    os.kill(os.getpid(), 9)"),
    ),
    "gives NaN": ("gives sound predictions", _after("probs[0, 0] = np.nan")),
    "gives logits": ("gives sound predictions", _after("probs = np.log(probs)")),
    "forgets an image": (
        "gives sound predictions",
        _after("return Predictions(task.test.image_ids[1:], probs[1:], task.classes)"),
    ),
    "gives an array": ("gives sound predictions", _after("return probs")),
    "knows the class shares alone": (
        "learns one batch",
        _after(
            "probs = np.tile(np.bincount(labels, minlength=classes) / len(labels), (len(probs), 1))"
        ),
    ),
    "turns the classes round": ("keeps the class order", _after("probs = probs[:, ::-1]")),
    "draws without a seed": (
        "gives the same twice",
        _before("known = known + np.random.default_rng().normal(0, 0.01, known.shape)"),
    ),
    "sorts the ids alone": (
        "ignores the order of test images",
        _after("return Predictions(np.sort(task.test.image_ids), probs, task.classes)"),
    ),
    "normalises by the test part": (
        "ignores the order of test images",
        _after(
            "probs = probs / probs.mean(axis=0)", "probs = probs / probs.sum(axis=1, keepdims=True)"
        ),
    ),
    "writes into the store": (
        "leaves its inputs alone",
        _after(
            "stored = np.load(task.train.images.pixels.filename, mmap_mode='r+')",
            "stored[task.test.images.rows] = 0",
            "stored.flush()",
        ),
    ),
    "reads labels where the data lies": (
        "knows no test labels",
        _after(
            "import pandas as pd",
            "told = pd.read_csv(Path(os.environ['BENCH_DATA'], 'metadata.csv'))",
            "told = told.set_index('image_id')['dx']",
            "found = [task.classes.index(told[image_id]) for image_id in task.test.image_ids]",
            "probs = 0.9 * np.eye(classes)[found] + 0.1 * probs",
        ),
    ),
    "learns from the program that drew the images": (
        "learns nothing from permuted labels",
        _after(
            "from bench.data.synthetic import synthetic_manifest",
            "told = synthetic_manifest().table.set_index('image_id')['label']",
            "found = [task.classes.index(told[image_id]) for image_id in task.test.image_ids]",
            "probs = 0.9 * np.eye(classes)[found] + 0.1 * probs",
        ),
    ),
    "will not be stopped": (
        "stops on SIGTERM",
        _before(
            "import signal",
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
            "task.folder.mkdir(parents=True, exist_ok=True)",
            "been = task.folder / 'been'",
            "first = 'stopped' in task.folder.parts and not been.exists()",
            "been.touch()",
            "time.sleep(60 if first else 0.5)",
        ),
    ),
    "goes on from half a state": (
        "resumes",
        _before(
            "state = task.folder / 'state.npy'",
            "task.folder.mkdir(parents=True, exist_ok=True)",
            "if state.exists():",
            "    known = np.load(state)",
            "np.save(state, known + 0.1)",
            "time.sleep(0.6)",
            "state.unlink()",
        ),
    ),
}
"""What is wrong, by name: the check that is meant for it, and the source."""
