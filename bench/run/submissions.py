"""Submissions: predictions made elsewhere as a row of the leaderboard.

<results>/<protocol>/<dataset>/<row>/submission.json   who, whence, licence, hash
    <results>/<protocol>/<dataset>/<row>/submission.csv    the file as it came (or .parquet)

The file is kept as it came and read again, checked, whenever rows are collected. Nothing in it is
ever executed: it is CSV or Parquet, numbers and ids.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import OFFENDERS_SHOWN, PredictionError, ResultsError, listing
from bench.io import read_file, read_text, sha256_of, write_atomically
from bench.leaderboard import RowFacts
from bench.predictions import SUM_TOLERANCE, Predictions, RowPredictions, TrainingKey, sum_to_one
from bench.protocol import Roles
from bench.run.registry import RESERVED
from bench.run.results import visible
from bench.run.rows import UNDECLARED, fault_of_pretraining
from bench.run.submission_reader import (
    FEW,
    IMAGE_COLUMNS,
    MAX_BYTES,
    read_submission_table,
    refuse_other_spelling,
    refuse_rows_without_id,
)

MARK = "submission.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
LONGEST_SHOWN = 80
UNKNOWN = "unk"
"""ISIC 2019's column for images of none of the classes: passed over where nothing is in it."""


class Submission(BaseModel):
    """The content of submission.json.

    file, sha256      the kept file beside it
    original          the file's name as it was handed in
    origin, licence, pretraining_data   as stated by who submitted; "not stated" where they are not
    accepted          UTC, ISO 8601
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    protocol: str
    dataset: str
    roster_sha256: str
    roles_sha256: str
    file: str
    sha256: str
    original: str
    origin: str
    licence: str
    pretraining_data: str = UNDECLARED
    accepted: str


@dataclass(frozen=True)
class SubmissionSpec:
    """What a submission must hold: every test image of every fold column once.

    folds  of one repeat; the roles' columns are repeat-major
    seed   the seed that the row stands under; a submission is one training of the method
    """

    roles: Roles
    classes: tuple[str, ...]
    folds: int
    seed: int

    def test_rows(self) -> pd.DataFrame:
        """Columns `image_id` and `fold` of every prediction that is wanted."""
        parts = [(k, self.roles.rows(k, "test")) for k in range(self.roles.columns)]
        ids = np.concatenate([self.roles.image_ids[rows] for _, rows in parts])
        fold = np.concatenate([np.full(len(rows), k) for k, rows in parts])
        return pd.DataFrame({"image_id": ids, "fold": fold})


def row_folder(results: Path, protocol: str, dataset: str, name: str) -> Path:
    """Where a submission is kept."""
    return results / protocol / dataset / name


def refuse_odd_name(name: str) -> None:
    """Raise PredictionError for a name that no folder of a row can have."""
    if not NAME.fullmatch(name):
        raise PredictionError(
            f"--name {_shown(name)}: use up to 64 letters, digits, '_', '.' and '-', a letter or "
            "digit first"
        )


def refuse_name(name: str, folder: Path, methods: Sequence[str], *, replace: bool) -> None:
    """Raise PredictionError for a name that is none, or that another row has."""
    refuse_odd_name(name)
    if name in RESERVED or name in methods:
        raise PredictionError(f"--name {name}: is the name of a row of the bench; take another")
    if holds_submission(folder) and not replace:
        raise PredictionError(
            f"--name {name}: {folder} holds a submission already; take another name, or give "
            "--replace"
        )
    if folder.exists() and not holds_submission(folder) and any(folder.iterdir()):
        raise PredictionError(f"--name {name}: {folder} holds a trained row; take another name")


def refuse_committed(name: str, folder: Path) -> None:
    """Raise PredictionError where `folder`, a name's among the committed rows, holds one."""
    if folder.exists():
        raise PredictionError(
            f"--name {name}: is the name of a committed row ({folder}), which every leaderboard "
            "shows; take another"
        )


def holds_submission(folder: Path) -> bool:
    """Whether a row's folder holds a submission."""
    return (folder / MARK).exists()


def read_submission(path: Path, wanted: SubmissionSpec) -> dict[TrainingKey, Predictions]:
    """The predictions of a file, by slot. Raises PredictionError with the first twenty faults."""
    table = read_submission_table(path)
    frame, fold = _columns(table, wanted, str(path))
    faults = list(_faults(frame, fold, wanted))
    if len(faults) == 1:
        raise PredictionError(f"{path}: {faults[0]}")
    if faults:
        shown = "\n".join(f"  - {fault}" for fault in faults[:OFFENDERS_SHOWN])
        more = len(faults) - OFFENDERS_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        raise PredictionError(f"{path}: {len(faults)} faults:\n{shown}{rest}")
    return {
        TrainingKey(wanted.seed, *divmod(column, wanted.folds)): Predictions.from_frame(
            frame[fold == column], wanted.classes
        )
        for column in range(wanted.roles.columns)
    }


def _columns(
    table: pd.DataFrame, wanted: SubmissionSpec, where: str
) -> tuple[pd.DataFrame, pd.Series]:
    """The columns `image_id`, `p_<class>` as text or numbers, and the fold column of every row."""
    table = table.rename(columns=str)
    twice = sorted(name for name, count in Counter(table.columns).items() if count > 1)
    if twice:
        raise PredictionError(f"{where}: columns that stand there twice: {', '.join(twice)}")
    by_class = {f"p_{name}": f"p_{name}" for name in wanted.classes}
    if "image_id" not in table.columns:  # the ISIC challenges' header: image,MEL,NV,...
        lower = {str(name).strip().lower(): name for name in table.columns}
        by_class = {f"p_{name}": lower.get(name, f"p_{name}") for name in wanted.classes}
    ids = next((name for name in IMAGE_COLUMNS if name in table.columns), "image_id")
    needed = [ids, *by_class.values()]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise PredictionError(
            f"{where}: missing columns: {', '.join(missing)}; a submission has image_id and "
            f"{', '.join(f'p_{name}' for name in wanted.classes)} (or ISIC's header: image,"
            f"{','.join(name.upper() for name in wanted.classes)})"
        )
    known = {*needed, "fold"}
    if ids != "image_id":  # ISIC 2019 asked for a column of what is none of the classes
        known |= {
            name for name in table.columns if name.lower() == UNKNOWN and _all_zero(table[name])
        }
    strange = [_shown(name) for name in table.columns if name not in known]
    if strange:
        raise PredictionError(
            f"{where}: unknown columns: {', '.join(strange[:OFFENDERS_SHOWN])}; remove them, or "
            "name each class as the dataset does"
        )
    refuse_rows_without_id(table[ids], where)
    frame = pd.DataFrame({"image_id": table[ids].astype(str)})
    refuse_other_spelling(frame["image_id"], wanted.roles.image_ids.tolist(), where)
    for name, column in by_class.items():
        frame[name] = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
    return frame, _folds(table, frame["image_id"], wanted, where)


def _all_zero(column: pd.Series) -> bool:
    return bool((pd.to_numeric(column, errors="coerce") == 0).all())


def _folds(
    table: pd.DataFrame, image_ids: pd.Series, wanted: SubmissionSpec, where: str
) -> pd.Series:
    """The fold column of every row: as stated, else the one that tests the image (-1: none)."""
    if "fold" in table.columns:
        stated = pd.to_numeric(table["fold"], errors="coerce")
        odd = table["fold"][~stated.isin(range(wanted.roles.columns))]
        if len(odd):
            told = [f"row {number} has {_shown(value)!r}" for number, value in odd.items()]
            raise PredictionError(
                f"{where}: `fold` is none of 0 to {wanted.roles.columns - 1}: {listing(told, FEW)};"
                " give the column of the roles file that tests the image"
            )
        return stated.astype(np.int64)
    rows = wanted.test_rows()
    if rows["image_id"].duplicated().any():
        raise PredictionError(
            f"{where}: this protocol tests an image in several of its fold columns; add a column "
            f"`fold` with 0 to {wanted.roles.columns - 1}, as in its roles file"
        )
    fold_of = rows.set_index("image_id")["fold"]
    return image_ids.map(fold_of).fillna(-1).astype(np.int64)


def _faults(frame: pd.DataFrame, fold: pd.Series, wanted: SubmissionSpec) -> Iterator[str]:
    """A sentence for each fault, with its cure."""
    keys = pd.MultiIndex.from_arrays([frame["image_id"], fold])
    rows = wanted.test_rows()
    expected = pd.MultiIndex.from_arrays([rows["image_id"], rows["fold"]])
    known = set(wanted.roles.image_ids.tolist())
    several = "fold" if rows["image_id"].duplicated().any() else ""
    for image_id, at in keys[keys.duplicated()].unique():
        yield f"{_shown(image_id)} stands there twice{_in(at, several)}; keep one row of it"
    for image_id, at in keys[~keys.duplicated()].difference(expected):
        if image_id not in known:
            yield f"{_shown(image_id)} is no image of this dataset; remove the row"
        elif at < 0:
            yield f"{_shown(image_id)} is tested in no fold of this protocol; remove the row"
        else:
            yield f"{_shown(image_id)} is not tested in fold {at}; remove it, or correct `fold`"
    for image_id, at in expected.difference(keys):
        yield f"{_shown(image_id)} is missing{_in(at, several)}; every test image needs a row"
    probs = frame.drop(columns="image_id").to_numpy()
    named = frame["image_id"]
    broken = ~np.isfinite(probs).all(axis=1)
    for image_id in named[broken]:
        yield (
            f"{_shown(image_id)} has a probability that is no finite number; give numbers from 0 "
            "to 1, and none empty"
        )
    negative = ~broken & (probs < 0).any(axis=1)
    for image_id in named[negative]:
        yield (
            f"{_shown(image_id)} has a negative probability; give probabilities, not logits "
            "(softmax makes them)"
        )
    sums = probs.sum(axis=1)
    for position in np.flatnonzero(~broken & ~negative & ~sum_to_one(sums)):
        yield (
            f"{_shown(named.iloc[position])} has probabilities that sum to "
            f"{sums[position]:.7g}, not 1 within {SUM_TOLERANCE}; divide them by their sum"
        )


def _in(column: int, several: str) -> str:
    return f" in fold {column}" if several else ""


def _shown(text: object) -> str:
    """An id or name of somebody's file, fit for a terminal."""
    word = str(text)
    fit = word.isprintable() and len(word) <= LONGEST_SHOWN
    return word if fit else ascii(word[:LONGEST_SHOWN])


def keep_submission(folder: Path, path: Path, submission: Submission) -> None:
    """Copy an accepted file into the row's folder; submission.json last, as the mark of done."""
    content = read_file(path, MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != submission.sha256:
        raise PredictionError(f"{path}: changed while it was read; submit it again")
    (folder / MARK).unlink(missing_ok=True)
    write_atomically(folder / submission.file, content)
    text = submission.model_dump_json(indent=2) + "\n"
    write_atomically(folder / MARK, text.encode())


def submitted_rows(
    roots: Sequence[Path],
    protocol: str,
    dataset: str,
    wanted: SubmissionSpec,
    roles_sha256: str,
    taken: AbstractSet[str] = frozenset(),
) -> list[tuple[RowPredictions, RowFacts]]:
    """Every submission of the results folders as a row; the first folder that has a name counts.

    Submissions made for other roles are no rows of this board. Raises ResultsError for one whose
    name is `taken` by a trained row: which of the two is meant, nobody could tell.
    """
    rows: dict[str, tuple[RowPredictions, RowFacts]] = {}
    for root in roots:
        for file, submission in all_submissions(root, protocol, dataset):
            if submission.roles_sha256 != roles_sha256 or submission.name in rows:
                continue
            if submission.name in taken:
                raise ResultsError(
                    f"{file.with_name(MARK)}: is a submission named like a row that was trained; "
                    f"remove {file.with_name('submission.*')}, and submit the file under another "
                    "--name"
                )
            row = RowPredictions(
                submission.name, submission.name, "submitted", read_submission(file, wanted)
            )
            rows[submission.name] = row, _facts(submission)
    return list(rows.values())


def _facts(submission: Submission) -> RowFacts:
    return RowFacts(
        notes=(
            "submitted: training not verified",
            f"origin: {submission.origin}",
            f"licence of the predictions: {submission.licence}",
            f"pretraining data: {submission.pretraining_data}",
        ),
        environment={"accepted": submission.accepted, "file": submission.original},
        hashes={
            "submission": submission.sha256,
            "roster": submission.roster_sha256,
            "roles": submission.roles_sha256,
        },
        unranked=fault_of_pretraining(submission.pretraining_data),
    )


def all_submissions(root: Path, protocol: str, dataset: str) -> Iterator[tuple[Path, Submission]]:
    """Every submission of a results folder with its kept file, in path order.

    Raises ResultsError for one that is damaged: a row must not vanish without a word.
    """
    for path in visible(root / protocol / dataset, f"*/{MARK}"):
        submission = stated(path.parent)
        yield kept_file(path.parent, submission), submission


def stated(folder: Path) -> Submission:
    """What a submission's folder says of it. Raises ResultsError where that cannot be read."""
    path = folder / MARK
    try:
        return Submission.model_validate_json(read_text(path))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ResultsError(f"{path}: cannot be read ({first}); submit the file again") from None


def kept_file(folder: Path, submission: Submission) -> Path:
    """The file as it was accepted. Raises ResultsError where it is another, or gone."""
    file = folder / Path(submission.file).name
    if not file.is_file() or sha256_of(file) != submission.sha256:
        raise ResultsError(f"{file}: is not the file that was accepted; submit it again")
    return file


def lies_right(folder: Path, submission: Submission) -> bool:
    """Whether a submission's folder is named after protocol, dataset and row."""
    return folder.parts[-3:] == (submission.protocol, submission.dataset, submission.name)


def named_classes(file: Path) -> tuple[str, ...]:
    """The classes that an accepted file's header names, in its order: p_<class>, or <CLASS> as the
    ISIC challenges write it.
    """
    columns = [str(name) for name in read_submission_table(file).columns]
    probs = [name for name in columns if name not in {*IMAGE_COLUMNS, "fold"}]
    return tuple(
        name.removeprefix("p_") if name.startswith("p_") else name.lower() for name in probs
    )
