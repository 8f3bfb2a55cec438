"""The results folder: the only module that knows its layout.

A file of a few bytes can state any number of rows, and hold a text that unpacks to gigabytes, once
or in every row; so its footer is looked at first, and its texts are counted before they are
unpacked. A footer that states too little costs the pages it hides, of 2 GiB each at most.

<results>/<protocol>/<dataset>/<row>/seed<s>/[r<r>/]fold<f>/
        job.json  record.json  log.txt  history.csv
        predictions.parquet  val_predictions.parquet  test_predictions.csv
        classification_report.txt  checkpoints/  tensorboard/  gradcam/
    <results>/<protocol>/<dataset>/<row>/{test_predictions.csv,classification_report.txt}
    <results>/<protocol>/<dataset>/leaderboard/

record.json is written last and atomically: it is the mark of done.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
from filelock import FileLock, Timeout

from bench.errors import PredictionError, ResultsError
from bench.io import (
    MOST_BYTES,
    MOST_TEXT,
    is_scratch,
    read_file,
    read_text,
    remove,
    safe_name,
    sha256_of,
    text_cell,
    write_atomically,
)
from bench.job import Job, JobFile, RunRecord, parse_job_file, parse_record, to_json
from bench.predictions import Predictions, TrainingKey

if TYPE_CHECKING:
    from pyarrow import ChunkedArray
    from pyarrow.parquet import FileMetaData


MOST_CELLS = 200_000_000
CELL_BYTES = 256
"""Of a cell, unpacked, on average: a number has 8, an id rarely more than 40."""
FREE_BYTES = 1 << 20
LONGEST_NUMBER = 16


def read_parquet(content: bytes, where: str) -> pd.DataFrame:
    """The table of a Parquet file. Raises PredictionError where it is none, or one too large."""
    try:
        fault = _fault(content)
        table = None if fault else _table(content)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes its reader raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise PredictionError(f"{where}: cannot be read as Parquet: {first}") from None
    if table is None:
        raise PredictionError(f"{where}: {fault}")
    return table


def _table(content: bytes) -> pd.DataFrame:
    """The table, read by this thread alone.

    pandas has it read by threads of Arrow's: where the process ended soon after, as that of a
    refused submission does, one that still held the file aborted it (exit code 134).
    """
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(io.BytesIO(content), pre_buffer=False)
    read = file.read(use_threads=False, use_pandas_metadata=True)
    table: pd.DataFrame = read.to_pandas(use_threads=False)
    return table


def _fault(content: bytes) -> str:
    """What of a file is not to be unpacked, "" where all is."""
    from pyarrow.parquet import ParquetFile

    stated = ParquetFile(io.BytesIO(content)).metadata
    columns = [stated.schema.column(place) for place in range(stated.num_columns)]
    for column in columns:
        if column.max_repetition_level or column.path != column.name:
            return f"column {column.path!r} holds lists or tables; give a number or text a cell"
        if (column.length or 0) > LONGEST_NUMBER:
            return f"column {column.name!r} holds neither numbers nor text"
    groups = [stated.row_group(place) for place in range(stated.num_row_groups)]
    rows = max(stated.num_rows, sum(abs(group.num_rows) for group in groups))
    cells = rows * max(stated.num_columns, 1)
    if cells > MOST_CELLS:
        return f"holds more than {MOST_CELLS} cells; too large"
    most = min(FREE_BYTES + cells * CELL_BYTES, MOST_BYTES)
    too_large = f"{rows} rows of {stated.num_columns} columns unpack to more than {most} bytes"
    if _stated_bytes(stated) > most:
        return too_large
    texts = [column.name for column in columns if column.physical_type == "BYTE_ARRAY"]
    file = ParquetFile(io.BytesIO(content), read_dictionary=texts, pre_buffer=False)
    packed = file.read(texts, use_threads=False)
    return too_large if sum(map(_text_bytes, packed.columns)) > most else ""


def _stated_bytes(stated: FileMetaData) -> int:
    """What the columns unpack to by the footer, each text of a dictionary counted once."""
    groups = [stated.row_group(place) for place in range(stated.num_row_groups)]
    return sum(
        max(
            group.total_byte_size,
            sum(abs(group.column(i).total_uncompressed_size) for i in range(group.num_columns)),
        )
        for group in groups
    )


def _text_bytes(column: ChunkedArray) -> int:
    """The length of all texts of a column that was read as a dictionary and places in it."""
    import pyarrow.compute as pc

    lengths = [pc.take(pc.binary_length(part.dictionary), part.indices) for part in column.chunks]
    return sum(pc.sum(each).as_py() or 0 for each in lengths)


LEADERBOARD = "leaderboard"
BOARD = "leaderboard.json"
PREDICTIONS = "predictions.parquet"
HISTORY = "history.csv"
TABLE = "test_predictions.csv"
REPORT = "classification_report.txt"
TENSORBOARD = "tensorboard"
LOCK = "job.lock"
ABANDONED_SECONDS = 24 * 3600
SLOT = re.compile(r"/seed(\d+)(?:/r(\d+))?/fold(\d+)$", re.ASCII)
UNHASHED = frozenset({"record.json", "log.txt", REPORT, LOCK})
"""Files that may change after the record: the log's end, what scoring adds, the lock."""


def job_folder(results: Path, job: Job, repeats: int) -> Path:
    """Where a job leaves what it makes."""
    folder = row_folder(results, job) / f"seed{job.seed}"
    if repeats > 1:
        folder /= f"r{job.repeat}"
    return folder / f"fold{job.fold}"


def row_folder(results: Path, job: Job) -> Path:
    """Where all jobs of a row lie."""
    return results / job.protocol / job.dataset / job.row


def lies_right(folder: Path, results: Path, job: Job, repeats: int | None = None) -> bool:
    """Whether a folder is the job's own; with or without a folder of the repeat, where the number
    of repeats is not known.
    """
    possible = [repeats] if repeats else [1, 2] if job.repeat == 0 else [2]
    return any(folder == job_folder(results, job, number) for number in possible)


def slot_at(folder: Path) -> TrainingKey | None:
    """The slot that a job's folder is named after; None for a folder of another name."""
    found = SLOT.search(folder.as_posix())
    return found and TrainingKey(*(int(number or 0) for number in found.groups()))


def leaderboard_folder(results: Path, protocol: str, dataset: str) -> Path:
    """Where the pages go."""
    return results / protocol / dataset / LEADERBOARD


def compare_folder(leaderboard: Path, rows: Sequence[str], metric: str = "") -> Path:
    """Where the page of a comparison goes: a folder named after its rows, in their order, and after
    its metric where that is not the protocol's primary one.

    Names that make no good folder, or too long a one, are told apart by a hash.
    """
    return leaderboard / "compare" / "~".join(filter(None, (safe_name(rows), metric)))


def sweep_file(results: Path, protocol: str, dataset: str, method: str) -> Path:
    """Where a sweep keeps what its folds chose."""
    return results / protocol / dataset / "sweep" / f"{method}.json"


def job_folders(results: Path) -> Iterator[Path]:
    """Every folder of a job below a results folder, in path order."""
    marks = ("job.json", "record.json")
    paths = visible(results, *(f"*/*/*/seed*/**/{mark}" for mark in marks))
    yield from sorted({path.parent for path in paths})


def ownerless(results: Path) -> Iterator[Path]:
    """Folders named as a job's that hold files and neither its job nor its record, in path order.

    Not one that a process is about to begin in, which has its lock alone, nor what it left half
    made.
    """
    owned = set(job_folders(results))
    for folder in visible(results, "*/*/*/seed*/fold*", "*/*/*/seed*/r*/fold*"):
        held = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
        if folder not in owned and not all(map(is_scratch, held)):
            yield folder


def visible(folder: Path, *patterns: str) -> list[Path]:
    """What fits a pattern below a folder, in path order; not what is hidden, as a half-made copy
    of a job's folder is.
    """
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def half_made(results: Path) -> Iterator[Path]:
    """What processes are writing, or were killed in writing, in path order.

    Looked for where a job, a submission or a leaderboard lies only: whatever folder somebody gave
    as the results, other programs' files in it are theirs.
    """
    marks = visible(results, "*/*/*/submission.json", f"*/*/{LEADERBOARD}/{BOARD}")
    boards = {path.relative_to(results).parts[:2] for path in [*marks, *job_folders(results)]}
    for board in sorted(boards):
        yield from filter(is_scratch, sorted(results.joinpath(*board).glob("**/.*.tmp")))


def refuse_unwritable(results: Path) -> None:
    """Raise ResultsError unless files can be made in the results folder; makes the folder."""
    probe = results / f".writable-{os.getpid()}"
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ResultsError(
            f"--results {results}: cannot be written ({error.strerror}); "
            "name another folder, or make this one writable"
        ) from None


def sweep(results: Path) -> None:
    """Remove what killed processes have half written and nobody has touched for a day."""
    for scratch in half_made(results):
        try:
            if time.time() - scratch.lstat().st_mtime > ABANDONED_SECONDS:
                remove(scratch)
        except OSError:
            continue  # gone meanwhile, or not ours to remove


def text_of(path: Path) -> str:
    """The text of a file of JSON. Raises ResultsError that says why it cannot be read."""
    try:
        return read_text(path)
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: not UTF-8 text (byte {error.start})") from None


def open_record(folder: Path) -> RunRecord:
    """The record of a job folder. Raises ResultsError that says why it cannot be read."""
    path = folder / "record.json"
    return parse_record(text_of(path), str(path))


def open_job(path: Path) -> JobFile:
    """The job of a job.json. Raises ResultsError that says why it cannot be read."""
    return parse_job_file(text_of(path), str(path))


def read_record(folder: Path) -> RunRecord | None:
    """The record of a job folder; None where there is none, or none that can be read."""
    try:
        return open_record(folder)
    except ResultsError:
        return None


def is_done(folder: Path, job: Job) -> bool:
    """Whether this very job has been done here, and its predictions are still what it wrote."""
    record = read_record(folder)
    return record is not None and record.id == job.id and not file_faults(folder, record)


def file_faults(folder: Path, record: RunRecord, *, hashed: bool = True) -> list[str]:
    """A sentence for each file of predictions that is gone or, where they are hashed, is another.

    Without a fault, the predictions in the folder are what the record was written for.
    """
    cure = "run again, which makes this fold anew (verify-results names all that is damaged)"
    faults = []
    for name in dict.fromkeys([PREDICTIONS, *record.files]):
        path = folder / name
        if not name.endswith(".parquet"):
            continue
        if not path.is_file():
            faults.append(f"{path}: is gone; {cure}")
        elif hashed and sha256_of(path) != record.files.get(name):
            told = "is not the file that the record beside it was written for"
            faults.append(f"{path}: {told}; {cure}")
    return faults


def prepare(job_file: JobFile) -> Literal["ready", "done", "busy"]:
    """Make a job's folder ready and write its job.json; what another job left there is removed.

    "done" where the job has been done meanwhile, "busy" where a process is working on it: then
    nothing is touched. Looking and making ready are one under the job's lock.
    """
    folder = Path(job_file.place.folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            if is_done(folder, job_file.job):
                return "done"
            _make_ready(folder, job_file)
            return "ready"
    except Timeout:
        return "busy"


def _make_ready(folder: Path, job_file: JobFile) -> None:
    path = folder / "job.json"
    try:
        before = open_job(path).id
    except ResultsError:
        before = None
    if before != job_file.id:
        for entry in folder.iterdir():
            if entry.name != LOCK:
                remove(entry)
    (folder / "record.json").unlink(missing_ok=True)
    for scratch in filter(is_scratch, sorted(folder.glob("**/.*.tmp"))):  # of killed processes
        remove(scratch)
    write_atomically(path, to_json(job_file).encode())


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions as Parquet, float32."""
    frame = predictions.to_frame()
    probs = frame.columns[1:]
    frame[probs] = frame[probs].astype("float32")
    content = io.BytesIO()
    frame.to_parquet(content, index=False, compression="zstd")
    write_atomically(path, content.getvalue())


def predictions_table(predictions: Predictions) -> pd.DataFrame:
    """`image_id`, the class called, then `p_<class>` in class order, float32."""
    table = predictions.to_frame()
    probs = table.columns[1:]
    table[probs] = table[probs].astype("float32")
    called = predictions.probs.argmax(axis=1)
    table.insert(1, "predicted", [predictions.classes[index] for index in called])
    return table


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV: numbers as short as they can be read back exactly, no formulas."""
    texts = table.select_dtypes(exclude="number").columns
    table = table.assign(**{name: table[name].map(text_cell) for name in texts})
    write_atomically(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_predictions(path: Path, classes: tuple[str, ...]) -> Predictions:
    """Read predictions; raises PredictionError that names the file."""
    try:
        content = read_file(path)
    except OSError as error:
        raise PredictionError(f"{path}: {error.strerror}") from None
    table = read_parquet(content, str(path))
    try:
        return Predictions.from_frame(table, classes)
    except PredictionError as error:
        raise PredictionError(f"{path}: {error}") from None


def read_history(path: Path) -> dict[str, tuple[float, ...]]:
    """The columns of a history.csv, a value an epoch; those that hold no numbers are left out."""
    try:
        table = pd.read_csv(io.BytesIO(read_file(path, MOST_TEXT)))
    except (OSError, ValueError):
        return {}
    numbers = table.select_dtypes("number").astype(float)
    return {str(name): tuple(map(float, column)) for name, column in numbers.items()}


def files_beside_record(folder: Path) -> dict[str, str]:
    """sha256 by name of every file of a job folder that the record vouches for."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: sha256_of(path)
        for name, path in names.items()
        if name not in UNHASHED and not path.name.startswith(".")
    }


def is_locked(folder: Path) -> bool:
    """Whether another process works on the job of this folder right now; leaves no trace."""
    lock = folder / LOCK
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False  # a folder that cannot be written: nobody works there


def refuse_replacing(jobs: Sequence[tuple[Path, Job]]) -> None:
    """Raise ResultsError where a finished job of other code, threads or weights would be lost."""
    lost = [
        folder
        for folder, job in jobs
        if (record := read_record(folder)) is not None and record.id != job.id
    ]
    if lost:
        raise ResultsError(
            f"{len(lost)} finished jobs here were made by other code, threads, weights or pixels, "
            f"first {lost[0]}; name another folder with --results, or give --replace to train "
            "them again"
        )


def damaged_folds(results: Path, protocol: str, dataset: str) -> list[str]:
    """A sentence for each fold that counts as missing: its record, or a file of its predictions,
    is damaged.
    """
    return unreadable_records(results, protocol, dataset) + [
        f"damaged file, its fold counts as missing: {fault}"
        for folder, record in records(results, protocol, dataset)
        for fault in file_faults(folder, record)
    ]


def unreadable_records(results: Path, protocol: str, dataset: str) -> list[str]:
    """A sentence for each record that is damaged, or of a version that this one cannot read."""
    faults = []
    for path in visible(results / protocol / dataset, "*/seed*/**/record.json"):
        try:
            open_record(path.parent)
        except ResultsError as error:
            faults.append(f"unreadable record, its fold counts as missing: {error}")
    return faults


def records(results: Path, protocol: str, dataset: str) -> Iterator[tuple[Path, RunRecord]]:
    """Every readable record of a protocol and dataset, with its folder, in path order."""
    for path in visible(results / protocol / dataset, "*/seed*/**/record.json"):
        record = read_record(path.parent)
        if record is not None:
            yield path.parent, record


def whole_records(results: Path, protocol: str, dataset: str) -> Iterator[tuple[Path, RunRecord]]:
    """Those of the records whose predictions are what they were written for."""
    for folder, record in records(results, protocol, dataset):
        if not file_faults(folder, record):
            yield folder, record
