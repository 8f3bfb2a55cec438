"""Fold tables: the data of one fold that a method may use.

One row per image: `image_id, part, label, group_id, age, sex, localization`. Test rows have no
label and no group, so the process of a job never reads a file with a test label.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from bench.data.cache import ImageCache, cache_folder
from bench.dataset import Dataset, unlabelled_records
from bench.errors import DataError, listing
from bench.io import write_atomically
from bench.method import Images, LabelledPart, Part
from bench.protocol import PARTS, Roles

VISIBLE = ["image_id", "age", "sex", "localization"]
LABELLED = ["train", "val"]
MOST_CLASSES = 10_000
COLUMNS = [*VISIBLE, "part", "label", "group_id"]
FIX = "python bench.py run writes it again"


def fold_table(dataset: Dataset, roles: Roles, column: int) -> pd.DataFrame:
    """The table of one fold, without the images that are left out."""
    part = pd.Series(roles.parts[:, column]).map(dict(enumerate(PARTS)))
    table = dataset.table.loc[:, VISIBLE].assign(part=part)
    labelled = part.isin(LABELLED)
    table["label"] = pd.Series(dataset.labels).where(labelled).astype("Int64")
    table["group_id"] = pd.Series(roles.group_ids).where(labelled, None)
    return table[part != ""].reset_index(drop=True)


def metadata_sha256(dataset: Dataset) -> str:
    """Hash of the metadata that a method can see: age, sex and localization by image id."""
    content = dataset.table.loc[:, VISIBLE].to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(content.encode()).hexdigest()


def write_fold_table(table: pd.DataFrame) -> Path:
    """Write a fold table to the cache; the file name is the hash of its content."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    path = cache_folder() / "folds" / f"{hashlib.sha256(content).hexdigest()[:20]}.csv"
    write_atomically(path, content)
    return path


def _read_table(path: Path) -> pd.DataFrame:
    """The rows of a fold table. Raises DataError if the file is invalid."""
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(("image_id", "part", "group_id", "sex", "localization"), str),
            keep_default_na=False,
            na_values={name: [""] for name in ("age", "sex", "localization", "label", "group_id")},
        )
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; {FIX}") from None
    except ValueError:  # not text, or not a table
        raise DataError(f"{path}: cannot be read as a fold table; {FIX}") from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(f"{path}: not a fold table, columns are missing: {listing(missing)}; {FIX}")
    labels = pd.to_numeric(table["label"][table["part"].isin(LABELLED)], errors="coerce")
    if not (labels.between(0, MOST_CLASSES) & (labels % 1 == 0)).all():
        raise DataError(f"{path}: not a fold table, some labels are not class numbers; {FIX}")
    return table


def read_fold(path: Path, cache: ImageCache) -> tuple[LabelledPart, LabelledPart, Part]:
    """The train, val and test parts of a fold table, with their images from the image cache.

    Raises DataError if the file is invalid, or has images that are not in the cache.
    """
    table = _read_table(path)
    position = pd.Series(np.arange(len(cache.index.image_ids)), index=cache.index.image_ids)
    unknown = table["image_id"][~table["image_id"].isin(position.index)].tolist()
    if unknown:
        raise DataError(f"{path}: images that are not in {cache.folder}: {listing(unknown, 5)}")
    parts = {name: table[table["part"] == name] for name in ("train", "val", "test")}
    images = {
        name: Images(cache.pixels, position.loc[rows["image_id"]].to_numpy())
        for name, rows in parts.items()
    }
    train, val = (
        LabelledPart(
            records=unlabelled_records(parts[name]),
            images=images[name],
            labels=parts[name]["label"].to_numpy(dtype=np.int64),
            group_ids=parts[name]["group_id"].to_numpy(dtype=object),
        )
        for name in LABELLED
    )
    return train, val, Part(unlabelled_records(parts["test"]), images["test"])
