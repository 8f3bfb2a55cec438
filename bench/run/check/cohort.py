"""The cohort of a check: one image a patient, as many of each class, five folds.

One image a patient and equal classes make chance simple: no group, no prior can be learnt by heart.
Beside the store lies what a job never has: the metadata with all labels, where $BENCH_DATA points.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.data.building import build_store
from bench.data.folds import fold_table, write_fold_table
from bench.data.preprocess import Chain
from bench.data.sources import Source
from bench.data.store import Store
from bench.manifest import Manifest
from bench.protocol import PARTS, Roles

FOLDS = 5
PER_CLASS = 25
METADATA = "metadata.csv"


@dataclass(frozen=True)
class Cohort:
    """The cohort on disk: its source, its roles, and the folder of the data with its labels."""

    source: Source
    roles: Roles

    @property
    def manifest(self) -> Manifest:
        """Who is in it."""
        return self.source.manifest

    @property
    def metadata(self) -> Path:
        """The file that tells every label."""
        return self.source.folder / METADATA

    def store(self, chain: Chain) -> Store:
        """The images after a chain."""
        return build_store(self.source, chain)

    def table(self, column: int) -> Path:
        """The fold table of a column, as a job gets it."""
        return write_fold_table(fold_table(self.manifest, self.roles, column))

    def labels(self, image_ids: np.ndarray) -> np.ndarray:
        """Class indices (N,) of images."""
        codes = pd.Series(self.manifest.labels, index=self.manifest.image_ids)
        return codes.loc[image_ids].to_numpy()

    def write_metadata(self, swapped: np.ndarray | None = None) -> None:
        """Write the metadata; the images of these ids get the labels of other classes in it."""
        table = self.manifest.table.rename(columns={"label": "dx", "source": "dataset"})
        if swapped is not None:
            classes = self.manifest.classes
            after = dict(zip(classes, (*classes[1:], classes[0]), strict=True))
            rows = table["image_id"].isin(swapped)
            table.loc[rows, "dx"] = table.loc[rows, "dx"].map(after)
        table.to_csv(self.metadata, index=False)


def small_cohort(source: Source, folder: Path) -> Cohort:
    """Put the cohort of a check into a folder, from a dataset with patients."""
    manifest = source.manifest
    table = manifest.table.iloc[_one_a_patient(manifest)]
    (folder / "images").mkdir(parents=True)
    for image_id in table["image_id"]:
        name = f"{image_id}.png"
        shutil.copyfile(source.folder / "images" / name, folder / "images" / name)
    small = Manifest(
        name="check",
        title="a part of the synthetic set",
        classes=manifest.classes,
        table=table,
        synthetic=True,
    )
    cohort = Cohort(Source(small, folder), _roles(small))
    cohort.write_metadata()
    return cohort


def _one_a_patient(manifest: Manifest) -> list[int]:
    """Rows of PER_CLASS images of each class, all of different patients; the rarest class first."""
    taken: set[str] = set()
    rows: list[int] = []
    patients = manifest.table["patient_id"]
    by_rarity = manifest.table["label"].value_counts(ascending=True).index
    for label in by_rarity:
        own = patients[manifest.table["label"] == label].drop_duplicates()
        free = own[~own.isin(taken)].head(PER_CLASS)
        taken.update(free)
        rows += free.index.tolist()
    return sorted(rows)


def _roles(manifest: Manifest) -> Roles:
    """Five folds: of every class a fifth tests, the next fifth is val, the rest trains."""
    place = manifest.table.groupby("label").cumcount().to_numpy()
    turn = (place[:, None] - np.arange(FOLDS)) % FOLDS
    names = np.array(["test", "val", "train", "train", "train"])[turn]
    codes = np.vectorize(PARTS.index)(names).astype(np.uint8)
    return Roles(manifest.roster_sha256, manifest.image_ids, manifest.native_groups, codes)
