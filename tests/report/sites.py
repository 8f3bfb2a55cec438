"""Sites for tests: boards on the synthetic set with rows that were handed in, never trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd

from bench.io import Download, sha256_of
from bench.leaderboard import Leaderboard
from bench.report.dataset_page import render_dataset
from bench.report.render import render
from bench.report.site import Board
from tests.conftest import ROOT
from tests.report import boards, dataset_reports, hostile, reported_rows

HOME = "../../index.html"


def handed_in(path: Path, seed: int = 0) -> Path:
    """Random predictions for every image of the synthetic set, as `submit` takes them."""
    roles = pd.read_csv(ROOT / "protocols" / "groupkfold5" / "synthetic.csv", comment="#")
    probs = np.random.default_rng(seed).dirichlet(np.ones(len(boards.CLASSES)), len(roles))
    frame = pd.DataFrame(probs, columns=[f"p_{label}" for label in boards.CLASSES])
    frame.insert(0, "image_id", roles["image_id"])
    frame.to_csv(path, index=False)
    return path


def board(found: Leaderboard, offers: Sequence[Download] = (), protocol: str = "groupkfold5"):
    """A board of the site with these numbers on the synthetic set's study."""
    study = replace(dataset_reports.study(protocol), board=found)
    beside = render_dataset(study, HOME)
    return Board(study, {**render(found, study="dataset.html", home=HOME), **beside}, offers)


def offers(folder: Path, rows: Sequence[str]) -> list[Download]:
    """A file for every row."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, row in enumerate(rows):
        path = folder / f"{number}.parquet"
        path.write_bytes(bytes([number]) * 100)
        name = f"results/groupkfold5/synthetic/row-{number}/seed0/fold0/predictions.parquet"
        made.append(Download(name, path, row, "seed0/fold0", sha256_of(path), 100))
    return made


def two_boards(folder: Path) -> list[Board]:
    """One like the real thing, one of everything that could go wrong."""
    worst = hostile.worst()
    return [
        board(boards.leaderboard(), offers(folder, [r.name for r in boards.leaderboard().rows])),
        board(replace(worst, protocol="holdout"), protocol="holdout"),
    ]


def closely() -> Board:
    """A board whose rows have pages of their own."""
    world = reported_rows.world()
    rows = reported_rows.rows(world)
    found = reported_rows.board(world, rows)
    study = replace(dataset_reports.study("groupkfold10"), board=found)
    pages = render(found, (), reported_rows.looks(world, rows), study="dataset.html", home=HOME)
    return Board(study, {**pages, **render_dataset(study, HOME)}, ())


def path_in(home: str, address: str) -> str:
    """The path of an address in a site."""
    return unquote(address.removeprefix(home))
