"""Error messages of `submit` for broken files: writes docs/verification/submission_errors.md.

    python -m benchmarks.refusals > docs/verification/submission_errors.md

A valid file of random predictions for the synthetic set, with one fault at a time; each is read as
`submit` reads it. A test compares the committed page with the output of this script.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from bench.data.open import DatasetSpec
from bench.errors import PredictionError
from bench.run.submissions import read_submission
from bench.workflows.open import OpenBench, open_bench

PAGE = """# Error messages of broken submissions

Each file below is a valid submission for the synthetic set (1,253 images, seven classes) with one
fault. `submit` exits with code 2 and writes nothing. It lists the first 20 faults; this page shows
a few. `python -m benchmarks.refusals` prints this page.
"""


LINES_SHOWN = 4


def sound(bench: OpenBench) -> pd.DataFrame:
    """Random probabilities for every image, written with six digits."""
    ids = bench.roles.image_ids
    classes = bench.dataset.classes
    probs = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(ids)).round(6)
    frame = pd.DataFrame(probs, columns=[f"p_{name}" for name in classes])
    frame.insert(0, "image_id", ids)
    return frame


def _isic(frame: pd.DataFrame) -> pd.DataFrame:
    upper = {name: name.removeprefix("p_").upper() for name in frame.columns[1:]}
    return frame.rename(columns=upper | {"image_id": "image"})


def _logits(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{name: np.log(frame[name]) for name in frame.columns[1:]})


def _hole(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(p_mel=frame["p_mel"].where(frame.index % 1000 > 0))


def _semicolons(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, sep=";", decimal=",")


def _open_quote(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False).replace("SYN_0000002", '"SYN_0000002')


def _without_id(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(image_id=frame["image_id"].where(frame.index % 1000 > 0, ""))


BROKEN: dict[str, Callable[[pd.DataFrame], pd.DataFrame | str]] = {
    "Semicolons and decimal commas": _semicolons,
    "A quote that is not closed": _open_quote,
    "Only one fold's images": lambda f: f.iloc[: len(f) // 5],
    "A class is missing": lambda f: f.drop(columns="p_df"),
    "A class that the dataset does not have": lambda f: f.assign(p_scc=0.0),
    "ISIC's header with a class of another name": lambda f: _isic(f).rename(
        columns={"AKIEC": "AK"}
    ),
    "File names instead of ids": lambda f: f.assign(image_id=f["image_id"] + ".jpg"),
    "Ids in another letter case": lambda f: f.assign(image_id=f["image_id"].str.lower()),
    "Rows without an id": _without_id,
    "The first images twice": lambda f: pd.concat([f, f.head(3)]),
    "Images of another dataset": lambda f: f.replace({"image_id": {"SYN_0000001": "ISIC_0024306"}}),
    "Logits": _logits,
    "Scores that do not sum to 1": lambda f: f.assign(p_nv=f["p_nv"] + 0.25),
    "Rounded to two digits": lambda f: f.round(2),
    "A value that is missing": _hole,
    "Percent signs": lambda f: f.assign(p_nv=(100 * f["p_nv"]).round(2).astype(str) + "%"),
    "Folds that are not the protocol's": lambda f: f.assign(fold=np.arange(len(f)) % 5),
    "Half a fold": lambda f: f.assign(fold=0.5),
}


def refusals() -> dict[str, tuple[str, str]]:
    """By what is wrong: the first two lines of the file, and what is said of it."""
    bench = open_bench("groupkfold5", DatasetSpec())
    frame = sound(bench)
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preds.csv"
        for wrong, damage in BROKEN.items():
            damaged = damage(frame)
            text = damaged if isinstance(damaged, str) else damaged.to_csv(index=False)
            path.write_text(text, encoding="utf-8")
            lines = path.read_text(encoding="utf-8").splitlines()[:2]
            try:
                read_submission(path, bench.submission_spec)
            except PredictionError as error:
                told[wrong] = "\n".join(lines), str(error).replace(str(path), "preds.csv")
            else:
                raise AssertionError(f"{wrong}: was accepted")
    return told


def _shortened(said: str) -> str:
    """A message with its first faults and its end."""
    lines = said.splitlines()
    if len(lines) <= LINES_SHOWN + 2:
        return said
    left = len(lines) - LINES_SHOWN - 1
    return "\n".join([*lines[:LINES_SHOWN], f"  [{left} more lines of that kind]", lines[-1]])


def page() -> str:
    """The page as it is committed."""
    parts = [PAGE]
    for wrong, (lines, said) in refusals().items():
        parts.append(
            f"\n### {wrong}\n\n```\n{lines}\n...\n```\n\n```\nerror: {_shortened(said)}\n```\n"
        )
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
