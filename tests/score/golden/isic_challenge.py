"""What the ISIC challenge's own scorer says of seeded predictions for the ISIC 2019 images.

    python -m tests.score.golden.isic_challenge > tests/score/golden/isic_challenge.json

makes an environment in a scratch folder, or the one named by `--env` where it is not there yet,
installs isic-challenge-scoring in it (which needs a pandas below 3), and writes its scores alone.
Three predictions: `soft` has ties but no two largest scores; `hard` is 1 for its largest score, so
that the scorer's cut at 0.5 is the largest score too; `blind` is `hard` that never says DF.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.real_data import ISIC2019

REQUIRED = ("isic-challenge-scoring==5.6.0", "pandas==2.3.3")
CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
"""Without UNK: no image of the ground truth is of that class, and the scorer's AUC needs one."""

SCORER = """
import json, pathlib, sys
from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore
truth, *predictions = map(pathlib.Path, sys.argv[1:])
metric = ClassificationMetric.BALANCED_ACCURACY
scores = {p.stem: ClassificationScore.from_file(truth, p, metric).to_dict(rocs=False)
          for p in predictions}
print(json.dumps(scores))
"""


class Truth(NamedTuple):
    """Image ids and class indexes (N,), ascending by id."""

    image_ids: list[str]
    labels: np.ndarray


def read_truth(path: Path = ISIC2019) -> Truth:
    with path.open(newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["image"])
    labels = [[float(row[name]) for name in CLASSES].index(1) for row in rows]
    return Truth([row["image"] for row in rows], np.array(labels))


def predictions(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (N, C) by name: seeded, of three decimals, so that no processor makes others."""
    rng = np.random.default_rng(20191)
    raw = np.round(rng.random((len(labels), len(CLASSES))), 2)
    raw[np.arange(len(labels)), labels] += 0.25
    called = raw.argmax(axis=1)
    rows = np.arange(len(labels))
    soft = np.round(raw / 2, 3)
    soft[rows, called] = np.round(soft[rows, called] + 0.004, 3)
    hard = np.eye(len(CLASSES))[called]
    without = raw.copy()
    without[:, CLASSES.index("DF")] = -1
    return {"soft": soft, "hard": hard, "blind": np.eye(len(CLASSES))[without.argmax(axis=1)]}


def digest(scores: np.ndarray) -> str:
    return hashlib.sha256(np.round(scores * 1000).astype("<i4").tobytes()).hexdigest()


def write(path: Path, image_ids: list[str], scores: np.ndarray) -> Path:
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", *CLASSES])
        lines = zip(image_ids, scores.tolist(), strict=True)
        table.writerows([name, *map(repr, row)] for name, row in lines)
    return path


def installed(folder: Path) -> Path:
    """The Python of the scorer's environment in a folder, made where there is none."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *REQUIRED], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", type=Path, help="folder of the scorer's environment, kept")
    asked = parser.parse_args()
    truth = read_truth()
    made = predictions(truth.labels)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python = installed(asked.env or folder / "env")
        own = write(folder / "truth.csv", truth.image_ids, np.eye(len(CLASSES))[truth.labels])
        files = [write(folder / f"{k}.csv", truth.image_ids, v) for k, v in made.items()]
        command = [python, "-c", SCORER, own, *files]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    golden = {
        "made by": REQUIRED,
        "images": len(truth.labels),
        "sha256": {name: digest(scores) for name, scores in made.items()},
        "scores": json.loads(found),
    }
    print(json.dumps(golden, indent=1))


if __name__ == "__main__":
    main()
