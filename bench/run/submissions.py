"""Submissions: predictions made elsewhere as a row of the leaderboard.

    <results>/<protocol>/<dataset>/<row>/submission.json   name, origin, licence, hash
    <results>/<protocol>/<dataset>/<row>/submission.csv    the submitted file (or .parquet)

The file is kept unchanged, and read and checked again whenever rows are collected. It holds ids and
numbers; nothing in it is executed.
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
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    LONGEST,
    MAX_BYTES,
    read_submission_table,
    refuse_other_spelling,
    refuse_rows_without_id,
)

MARK = "submission.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MODEL = "model"
"""Optional column: the name of the model that made a prediction."""
UNKNOWN = "unk"
"""Column of ISIC 2019 for images of another class; ignored if all its values are 0."""


class Submission(BaseModel):
    """The content of submission.json.

    file, sha256      the kept file in the same folder
    original          name of the submitted file
    origin, licence, pretraining_data   as declared by the submitter; "not stated" by default
    models          number of separately trained models, as declared; 0 if nothing is declared
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
    models: int = Field(default=0, ge=0)
    accepted: str


@dataclass(frozen=True)
class SubmissionSpec:
    """What a submission must contain: each test image of each fold column once.

    folds  number of folds of one repeat; the columns of the roles are repeat-major
    seed   the seed of the row; a submission is one training of the method
    """

    roles: Roles
    classes: tuple[str, ...]
    folds: int
    seed: int

    def test_rows(self) -> pd.DataFrame:
        """Columns `image_id` and `fold` of every required prediction."""
        parts = [(k, self.roles.rows(k, "test")) for k in range(self.roles.columns)]
        ids = np.concatenate([self.roles.image_ids[rows] for _, rows in parts])
        fold = np.concatenate([np.full(len(rows), k) for k, rows in parts])
        return pd.DataFrame({"image_id": ids, "fold": fold})


def row_folder(results: Path, protocol: str, dataset: str, name: str) -> Path:
    """Folder of a submission."""
    return results / protocol / dataset / name


def refuse_odd_name(name: str) -> None:
    """Raise PredictionError for a name that is not valid for a row."""
    if not NAME.fullmatch(name):
        raise PredictionError(
            f"--name {_shown(name)}: use up to 64 letters, digits, '_', '.' and '-'; start with a "
            "letter or digit"
        )


def refuse_name(name: str, folder: Path, methods: Sequence[str], *, replace: bool) -> None:
    """Raise PredictionError for an invalid name, or for the name of another row."""
    refuse_odd_name(name)
    if name in RESERVED or name in methods:
        raise PredictionError(
            f"--name {name}: is the name of a row of the bench; give another name"
        )
    if holds_submission(folder) and not replace:
        raise PredictionError(
            f"--name {name}: {folder} holds a submission already; give another name, or --replace"
        )
    if folder.exists() and not holds_submission(folder) and any(folder.iterdir()):
        raise PredictionError(f"--name {name}: {folder} holds a trained row; give another name")


def refuse_committed(name: str, folder: Path) -> None:
    """Raise PredictionError if `folder`, a name's folder among the committed rows, exists."""
    if folder.exists():
        raise PredictionError(
            f"--name {name}: is the name of a committed row ({folder}), which every leaderboard "
            "shows; give another name"
        )


def holds_submission(folder: Path) -> bool:
    """Whether a row's folder holds a submission."""
    return (folder / MARK).exists()


def read_submission(path: Path, spec: SubmissionSpec) -> dict[TrainingKey, Predictions]:
    """The predictions of a file by seed, repeat and fold.

    Raises PredictionError with the first twenty faults.
    """
    table = read_submission_table(path)
    frame, fold = _columns(table, spec, str(path))
    faults = [*_id_faults(frame["image_id"], fold, spec), *_probability_faults(frame)]
    if len(faults) == 1:
        raise PredictionError(f"{path}: {faults[0]}")
    if faults:
        shown = "\n".join(f"  - {fault}" for fault in faults[:OFFENDERS_SHOWN])
        more = len(faults) - OFFENDERS_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        raise PredictionError(f"{path}: {len(faults)} faults:\n{shown}{rest}")
    return {
        TrainingKey(spec.seed, *divmod(column, spec.folds)): Predictions.from_frame(
            frame[fold == column], spec.classes
        )
        for column in range(spec.roles.columns)
    }


def _columns(
    table: pd.DataFrame, spec: SubmissionSpec, where: str
) -> tuple[pd.DataFrame, pd.Series]:
    """The columns `image_id` and `p_<class>` as numbers, and the fold column of each row."""
    table = table.rename(columns=str)
    twice = sorted(name for name, count in Counter(table.columns).items() if count > 1)
    if twice:
        raise PredictionError(f"{where}: columns that occur twice: {', '.join(twice)}")
    by_class = {f"p_{name}": f"p_{name}" for name in spec.classes}
    if "image_id" not in table.columns:  # header of the ISIC challenges: image,MEL,NV,...
        lower = {str(name).strip().lower(): name for name in table.columns}
        by_class = {f"p_{name}": lower.get(name, f"p_{name}") for name in spec.classes}
    ids = next((name for name in IMAGE_COLUMNS if name in table.columns), "image_id")
    needed = [ids, *by_class.values()]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise PredictionError(
            f"{where}: missing columns: {', '.join(missing)}; a submission has image_id and "
            f"{', '.join(f'p_{name}' for name in spec.classes)} (or ISIC's header: image,"
            f"{','.join(name.upper() for name in spec.classes)})"
        )
    known = {*needed, "fold", MODEL}
    if ids != "image_id":  # ISIC 2019 has a column for other classes
        known |= {
            name for name in table.columns if name.lower() == UNKNOWN and _all_zero(table[name])
        }
    unknown = [_shown(name) for name in table.columns if name not in known]
    if unknown:
        raise PredictionError(
            f"{where}: unknown columns: {', '.join(unknown[:OFFENDERS_SHOWN])}; remove them, or "
            "use the dataset's class names"
        )
    refuse_rows_without_id(table[ids], where)
    frame = pd.DataFrame({"image_id": table[ids].astype(str)})
    refuse_other_spelling(frame["image_id"], spec.roles.image_ids.tolist(), where)
    for name, column in by_class.items():
        frame[name] = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
    return frame, _folds(table, frame["image_id"], spec, where)


def declared_models(path: Path, spec: SubmissionSpec, models: int | None) -> int:
    """The number of separately trained models, as stated or by the column `model`; 0 for none.

    Models are separate if none predicts two fold columns; otherwise the column counts as 1.
    Raises PredictionError for a stated number that is neither 1 nor at least the number of fold
    columns, or that contradicts the file.
    """
    table, columns = read_submission_table(path).rename(columns=str), spec.roles.columns
    if models is not None and models != 1 and models < columns:
        raise PredictionError(
            f"--models {models}: the protocol has {columns} folds in all; give 1 for one model, or "
            f"{columns} or more if each fold has a separately trained model"
        )
    if MODEL not in table.columns:
        return models or 0
    if table[MODEL].isna().any():
        raise PredictionError(f"{path}: column `model` is empty in some rows; name every model")
    _, fold = _columns(table, spec, str(path))
    names = table[MODEL].astype(str)
    pairs = pd.DataFrame({MODEL: names, "fold": fold}).drop_duplicates()
    separate = pairs[MODEL].is_unique
    found = int(names.nunique()) if separate else 1
    if models is not None and models != found:
        raise PredictionError(
            f"--models {models}: the column `model` of {path} shows {found} separately trained; "
            "leave out --models, or correct the column"
        )
    return found


def _all_zero(column: pd.Series) -> bool:
    return bool((pd.to_numeric(column, errors="coerce") == 0).all())


def _folds(
    table: pd.DataFrame, image_ids: pd.Series, spec: SubmissionSpec, where: str
) -> pd.Series:
    """The fold column of each row: as given, else the one that tests the image (-1: none)."""
    if "fold" in table.columns:
        folds = pd.to_numeric(table["fold"], errors="coerce")
        invalid = table["fold"][~folds.isin(range(spec.roles.columns))]
        if len(invalid):
            rows = [f"row {number} has {_shown(value)!r}" for number, value in invalid.items()]
            raise PredictionError(
                f"{where}: `fold` is none of 0 to {spec.roles.columns - 1}: {listing(rows, FEW)};"
                " give the column of the roles file that tests the image"
            )
        return folds.astype(np.int64)
    tested = spec.test_rows()
    if tested["image_id"].duplicated().any():
        raise PredictionError(
            f"{where}: this protocol tests an image in several fold columns; add a column "
            f"`fold` with 0 to {spec.roles.columns - 1}, as in its roles file"
        )
    fold_of = tested.set_index("image_id")["fold"]
    return image_ids.map(fold_of).fillna(-1).astype(np.int64)


def _id_faults(image_ids: pd.Series, fold: pd.Series, spec: SubmissionSpec) -> Iterator[str]:
    """A message for each image id that occurs twice, is unexpected or is missing."""
    keys = pd.MultiIndex.from_arrays([image_ids, fold])
    rows = spec.test_rows()
    expected = pd.MultiIndex.from_arrays([rows["image_id"], rows["fold"]])
    known = set(spec.roles.image_ids.tolist())
    in_fold = " in fold {}" if rows["image_id"].duplicated().any() else ""
    for image_id, at in keys[keys.duplicated()].unique():
        yield f"{_shown(image_id)} occurs twice{in_fold.format(at)}; keep one row of it"
    for image_id, at in keys[~keys.duplicated()].difference(expected):
        if image_id not in known:
            yield f"{_shown(image_id)} is not in this dataset; remove the row"
        elif at < 0:
            yield f"{_shown(image_id)} is not tested in any fold of this protocol; remove the row"
        else:
            yield f"{_shown(image_id)} is not tested in fold {at}; remove it, or correct `fold`"
    for image_id, at in expected.difference(keys):
        yield f"{_shown(image_id)} is missing{in_fold.format(at)}; every test image needs a row"


def _probability_faults(frame: pd.DataFrame) -> Iterator[str]:
    """A message for each row whose probabilities are not finite, negative or do not sum to 1."""
    image_ids = frame["image_id"]
    probs = frame.drop(columns="image_id").to_numpy()
    broken = ~np.isfinite(probs).all(axis=1)
    for image_id in image_ids[broken]:
        yield (
            f"{_shown(image_id)} has a probability that is empty or not finite; give numbers from "
            "0 to 1"
        )
    negative = ~broken & (probs < 0).any(axis=1)
    for image_id in image_ids[negative]:
        yield (
            f"{_shown(image_id)} has a negative probability; give probabilities, not logits "
            "(apply softmax)"
        )
    sums = probs.sum(axis=1)
    for position in np.flatnonzero(~broken & ~negative & ~sum_to_one(sums)):
        yield (
            f"{_shown(image_ids.iloc[position])} has probabilities that sum to "
            f"{sums[position]:.7g}, not 1 within {SUM_TOLERANCE}; divide them by their sum"
        )


def _shown(text: object) -> str:
    """An untrusted id or name for a terminal: printable, at most LONGEST characters."""
    word = str(text)
    fit = word.isprintable() and len(word) <= LONGEST
    return word if fit else ascii(word[:LONGEST])


def keep_submission(folder: Path, path: Path, submission: Submission) -> None:
    """Copy an accepted file into the row's folder; submission.json is written last and marks it as
    complete.
    """
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
    spec: SubmissionSpec,
    roles_sha256: str,
    taken: AbstractSet[str] = frozenset(),
) -> list[tuple[RowPredictions, RowFacts]]:
    """The submissions of the results folders as rows; of one name the first folder's counts.

    Submissions for other roles are ignored. Raises ResultsError for a submission with the name of a
    trained row (`taken`), since the name would be ambiguous.
    """
    rows: dict[str, tuple[RowPredictions, RowFacts]] = {}
    for root in roots:
        for file, submission in all_submissions(root, protocol, dataset):
            if submission.roles_sha256 != roles_sha256 or submission.name in rows:
                continue
            if submission.name in taken:
                raise ResultsError(
                    f"{file.with_name(MARK)}: has the name of a trained row; remove "
                    f"{file.with_name('submission.*')}, and submit the file with another --name"
                )
            row = RowPredictions(
                submission.name, submission.name, "submitted", read_submission(file, spec)
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
            f"separately trained models, as declared: {submission.models or 'not stated'}",
        ),
        models=submission.models,
        environment={"accepted": submission.accepted, "file": submission.original},
        hashes={
            "submission": submission.sha256,
            "roster": submission.roster_sha256,
            "roles": submission.roles_sha256,
        },
        unranked=fault_of_pretraining(submission.pretraining_data),
    )


def all_submissions(root: Path, protocol: str, dataset: str) -> Iterator[tuple[Path, Submission]]:
    """The submissions of a results folder with their kept files, in path order.

    Raises ResultsError for a damaged one: a row must not disappear silently.
    """
    for path in visible(root / protocol / dataset, f"*/{MARK}"):
        submission = open_submission(path.parent)
        yield kept_file(path.parent, submission), submission


def open_submission(folder: Path) -> Submission:
    """The submission.json of a folder. Raises ResultsError if it cannot be read."""
    path = folder / MARK
    try:
        return Submission.model_validate_json(read_text(path))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ResultsError(f"{path}: cannot be read ({first}); submit the file again") from None


def kept_file(folder: Path, submission: Submission) -> Path:
    """The accepted file of a submission. Raises ResultsError if it is missing or has changed."""
    file = folder / Path(submission.file).name
    if not file.is_file() or sha256_of(file) != submission.sha256:
        raise ResultsError(
            f"{file}: is missing or has changed since it was accepted; submit it again"
        )
    return file


def is_place_of(folder: Path, submission: Submission) -> bool:
    """Whether a folder is named after the protocol, dataset and row of a submission."""
    return folder.parts[-3:] == (submission.protocol, submission.dataset, submission.name)


def classes_of(file: Path) -> tuple[str, ...]:
    """The classes in the header of an accepted file: p_<class>, or <CLASS> as in the ISIC
    challenges.
    """
    columns = [str(name) for name in read_submission_table(file).columns]
    probs = [name for name in columns if name not in {*IMAGE_COLUMNS, "fold", MODEL}]
    return tuple(
        name.removeprefix("p_") if name.startswith("p_") else name.lower() for name in probs
    )
