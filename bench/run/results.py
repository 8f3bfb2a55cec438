"""The results folder: the only module that knows its layout.

    <results>/<protocol>/<dataset>/<row>/seed<s>/[r<r>/]fold<f>/
        job.json  record.json  log.txt  history.csv
        predictions.parquet  val_predictions.parquet  test_predictions.csv
        classification_report.txt  checkpoints/  tensorboard/  gradcam/
    <results>/<protocol>/<dataset>/<row>/{test_predictions.csv,classification_report.txt}
    <results>/<protocol>/<dataset>/leaderboard/

record.json is written last and atomically: it marks a finished job.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
from filelock import FileLock, Timeout

from bench.errors import PredictionError, ResultsError, listing
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
from bench.job import (
    Job,
    JobFile,
    RunRecord,
    different_parts,
    engine_sha256,
    parse_job_file,
    parse_record,
    to_json,
)
from bench.predictions import Predictions, TrainingKey

if TYPE_CHECKING:
    from pyarrow import ChunkedArray
    from pyarrow.parquet import FileMetaData


MOST_CELLS = 200_000_000
CELL_BYTES = 256
"""Allowed average size of an unpacked cell: a number has 8 bytes, an id rarely more than 40."""
FREE_BYTES = 1 << 20
LONGEST_NUMBER = 16


def read_parquet(content: bytes, where: str) -> pd.DataFrame:
    """The table of a Parquet file. Raises PredictionError for another or too large a file.

    A file of a few bytes can declare any number of rows, or repeat a text that unpacks to
    gigabytes; so the footer is checked first, and the texts are counted before they are unpacked.
    A footer that declares too little costs at most the pages it hides, 2 GiB each.
    """
    try:
        fault = _parquet_fault(content)
        table = None if fault else _table(content)
    except Exception as error:  # noqa: BLE001 - a damaged file makes its reader raise anything
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise PredictionError(f"{where}: cannot be read as Parquet: {first}") from None
    if table is None:
        raise PredictionError(f"{where}: {fault}")
    return table


def _table(content: bytes) -> pd.DataFrame:
    """The table, read in this thread.

    pandas reads it in threads of Arrow; one that still held the file aborted the process of a
    refused submission at its end (exit code 134).
    """
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(io.BytesIO(content), pre_buffer=False)
    read = file.read(use_threads=False, use_pandas_metadata=True)
    table: pd.DataFrame = read.to_pandas(use_threads=False)
    return table


def _parquet_fault(content: bytes) -> str:
    """Why a file must not be unpacked, "" if it may."""
    from pyarrow.parquet import ParquetFile

    stated = ParquetFile(io.BytesIO(content)).metadata
    columns = [stated.schema.column(place) for place in range(stated.num_columns)]
    for column in columns:
        if column.max_repetition_level or column.path != column.name:
            return f"column {column.path!r} holds lists or tables; give one number or text per cell"
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
    """Unpacked bytes of the columns by the footer; each text of a dictionary counts once."""
    groups = [stated.row_group(place) for place in range(stated.num_row_groups)]
    return sum(
        max(
            group.total_byte_size,
            sum(abs(group.column(i).total_uncompressed_size) for i in range(group.num_columns)),
        )
        for group in groups
    )


def _text_bytes(column: ChunkedArray) -> int:
    """Length of all texts of a column that was read as a dictionary and indices."""
    import pyarrow.compute as pc

    lengths = [pc.take(pc.binary_length(part.dictionary), part.indices) for part in column.chunks]
    return sum(pc.sum(each).as_py() or 0 for each in lengths)


LEADERBOARD = "leaderboard"
BOARD = "leaderboard.json"
RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
HISTORY = "history.csv"
TABLE = "test_predictions.csv"
REPORT = "classification_report.txt"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
TRAINING_STATE = ("last.pt", "previous.pt")
LOCK = "job.lock"
ABANDONED_SECONDS = 24 * 3600
SLOT = re.compile(r"/seed(\d+)(?:/r(\d+))?/fold(\d+)$", re.ASCII)
UNHASHED = frozenset({RECORD, "log.txt", REPORT, LOCK})
"""Files that change after the record: the log's end, the reports of scoring, the lock."""


def job_folder(results: Path, job: Job, repeats: int) -> Path:
    """Folder of a job."""
    folder = row_folder(results, job) / f"seed{job.seed}"
    if repeats > 1:
        folder /= f"r{job.repeat}"
    return folder / f"fold{job.fold}"


def row_folder(results: Path, job: Job) -> Path:
    """Folder of all jobs of a row."""
    return results / job.protocol / job.dataset / job.row


def is_place_of(folder: Path, results: Path, job: Job, repeats: int | None = None) -> bool:
    """Whether a folder is the place of a job.

    If the number of repeats is unknown, a folder of the repeat is optional.
    """
    possible = [repeats] if repeats else [1, 2] if job.repeat == 0 else [2]
    return any(folder == job_folder(results, job, number) for number in possible)


def key_of_folder(folder: Path) -> TrainingKey | None:
    """The seed, repeat and fold in the name of a job's folder; None for another name."""
    match = SLOT.search(folder.as_posix())
    return match and TrainingKey(*(int(number or 0) for number in match.groups()))


def leaderboard_folder(results: Path, protocol: str, dataset: str) -> Path:
    """Folder of the pages of a leaderboard."""
    return results / protocol / dataset / LEADERBOARD


def compare_folder(leaderboard: Path, rows: Sequence[str], metric: str = "") -> Path:
    """Folder of the page of a comparison, named after its rows in order, and after its metric if
    that is not the protocol's primary one.

    A hash replaces names that are too long or not valid for a folder.
    """
    return leaderboard / "compare" / "~".join(filter(None, (safe_name(rows), metric)))


def sweep_file(results: Path, protocol: str, dataset: str, method: str) -> Path:
    """File of the options that a sweep selected in each fold."""
    return results / protocol / dataset / "sweep" / f"{method}.json"


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A folder of a job, its record read and its predictions hashed once.

    record  None if it is missing or unreadable
    faults  why the record is unreadable, or which files of predictions are missing or changed
    """

    folder: Path
    record: RunRecord | None
    faults: tuple[str, ...]


def scan_jobs(results: Path, *board: str, hashed: bool = True) -> list[StoredJob]:
    """Every job below a results folder, or of one board (protocol, dataset), in path order.

    hashed  compare the predictions with the hashes in the record; else only their presence
    """
    jobs = []
    for folder in job_folders(results, *board):
        record, faults = None, []
        try:
            record = open_record(folder)
            faults = file_faults(folder, record, hashed=hashed)
        except ResultsError as error:
            if (folder / RECORD).exists():
                faults = [str(error)]
        jobs.append(StoredJob(folder, record, tuple(faults)))
    return jobs


def job_folders(results: Path, *board: str) -> list[Path]:
    """Every folder of a job below a results folder, or of one board, in path order."""
    rows = "*" if board else "*/*/*"
    marks = (f"{rows}/seed*/**/{mark}" for mark in ("job.json", RECORD))
    return sorted({path.parent for path in visible(results.joinpath(*board), *marks)})


def folders_without_job(results: Path) -> Iterator[Path]:
    """Folders named like a job's that hold files but neither job.json nor record, in path order.

    Excludes a folder with nothing but a lock or partial files: a process is about to start in it.
    """
    owned = set(job_folders(results))
    for folder in visible(results, "*/*/*/seed*/fold*", "*/*/*/seed*/r*/fold*"):
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
        if folder not in owned and not all(map(is_scratch, files)):
            yield folder


def visible(folder: Path, *patterns: str) -> list[Path]:
    """Paths below a folder that match a pattern, in path order, without hidden ones, such as the
    partial copy of a job's folder.
    """
    paths = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(
        path
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def partial_files(results: Path) -> Iterator[Path]:
    """Files that processes are writing, or were killed while writing, in path order.

    Searches only boards with a job, a submission or a leaderboard: a folder that a user gives as
    results may hold files of other programs.
    """
    marks = visible(results, "*/*/*/submission.json", f"*/*/{LEADERBOARD}/{BOARD}")
    boards = {path.relative_to(results).parts[:2] for path in [*marks, *job_folders(results)]}
    for board in sorted(boards):
        yield from filter(is_scratch, sorted(results.joinpath(*board).glob("**/.*.tmp")))


def refuse_unwritable(results: Path) -> None:
    """Raise ResultsError unless the results folder is writable; creates the folder."""
    probe = results / f".writable-{os.getpid()}"
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ResultsError(
            f"--results {results}: cannot be written ({error.strerror}); "
            "give another folder, or make this one writable"
        ) from None


def sweep(results: Path) -> None:
    """Remove partial files of killed processes that have not changed for a day."""
    for scratch in partial_files(results):
        try:
            if time.time() - scratch.lstat().st_mtime > ABANDONED_SECONDS:
                remove(scratch)
        except OSError:
            continue  # removed meanwhile, or without permission


def text_of(path: Path) -> str:
    """The text of a JSON file. Raises ResultsError with the reason if it cannot be read."""
    try:
        return read_text(path)
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: not UTF-8 text (byte {error.start})") from None


def open_record(folder: Path) -> RunRecord:
    """The record of a job folder. Raises ResultsError with the reason if it cannot be read."""
    path = folder / RECORD
    return parse_record(text_of(path), str(path))


def open_job(path: Path) -> JobFile:
    """The job of a job.json. Raises ResultsError with the reason if it cannot be read."""
    return parse_job_file(text_of(path), str(path))


def read_record(folder: Path) -> RunRecord | None:
    """The record of a job folder; None if it is missing or unreadable."""
    try:
        return open_record(folder)
    except ResultsError:
        return None


def is_done(folder: Path, job: Job) -> bool:
    """Whether exactly this job is finished here and its predictions are unchanged."""
    record = read_record(folder)
    return record is not None and record.id == job.id and not file_faults(folder, record)


def is_finished(job_file: JobFile) -> bool:
    """Whether a job is done, by the engine that its file asks for if it asks for one."""
    folder, engine = Path(job_file.place.folder), job_file.place.engine_sha256
    record = read_record(folder)
    of_engine = record is not None and engine in {"", record.engine_sha256}
    return of_engine and is_done(folder, job_file.job)


def file_faults(folder: Path, record: RunRecord, *, hashed: bool = True) -> list[str]:
    """A message for each file of predictions that is missing or, if hashed, has changed."""
    cure = "run again, which repeats this fold (verify-results lists all damaged files)"
    faults = []
    for name in dict.fromkeys([PREDICTIONS, *record.files]):
        path = folder / name
        if not name.endswith(".parquet"):
            continue
        if not path.is_file():
            faults.append(f"{path}: is missing; {cure}")
        elif hashed and sha256_of(path) != record.files.get(name):
            faults.append(f"{path}: does not match its hash in {RECORD}; {cure}")
    return faults


def prepare(job_file: JobFile) -> Literal["ready", "done", "busy"]:
    """Make a job's folder ready and write its job.json; removes the files of another job there.

    Returns "done" if the job is finished, "busy" if another process is working on it; then nothing
    changes. Check and change happen under the job's lock.
    """
    folder = Path(job_file.place.folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            if is_finished(job_file):
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
    (folder / RECORD).unlink(missing_ok=True)
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
    """Columns `image_id`, `predicted` (class name) and `p_<class>` in class order, float32."""
    table = predictions.to_frame()
    probs = table.columns[1:]
    table[probs] = table[probs].astype("float32")
    predicted = predictions.probs.argmax(axis=1)
    table.insert(1, "predicted", [predictions.classes[index] for index in predicted])
    return table


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV: shortest exact numbers; texts cannot act as formulas."""
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
    """The numeric columns of a history.csv, one value per epoch."""
    try:
        table = pd.read_csv(io.BytesIO(read_file(path, MOST_TEXT)))
    except (OSError, ValueError):
        return {}
    numbers = table.select_dtypes("number").astype(float)
    return {str(name): tuple(map(float, column)) for name, column in numbers.items()}


def files_beside_record(folder: Path) -> dict[str, str]:
    """sha256 by name of every file of a job folder that its record lists."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: sha256_of(path)
        for name, path in names.items()
        if name not in UNHASHED and not path.name.startswith(".") and not is_training_state(path)
    }


def is_training_state(path: Path) -> bool:
    """Whether a file is the state of an interrupted training by the bench's engine.

    Its first bytes are the hash of the rest; another program's last.pt is a result.
    """
    if path.name not in TRAINING_STATE:
        return False
    with path.open("rb") as stream:
        stated = stream.read(hashlib.sha256().digest_size)
        return stated == hashlib.file_digest(stream, "sha256").digest()


def remove_training_state(folder: Path) -> None:
    """Remove the states of interrupted trainings from the folder of a finished job."""
    for path in sorted((folder / CHECKPOINTS).rglob("*.pt")):
        if is_training_state(path):
            path.unlink(missing_ok=True)


def is_locked(folder: Path) -> bool:
    """Whether another process is working on the job of this folder; changes nothing."""
    lock = folder / LOCK
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False  # a job cannot run in a read-only folder


def refuse_replacing(jobs: Sequence[tuple[Path, Job]]) -> None:
    """Raise ResultsError that names what differs if a finished job of another id would be lost."""
    lost = [
        (folder, different_parts(record.job, job))
        for folder, job in jobs
        if (record := read_record(folder)) is not None and record.id != job.id
    ]
    if lost:
        folder, parts = lost[0]
        raise ResultsError(
            f"{len(lost)} finished jobs differ from this run in {parts} (first: {folder}); give "
            "another folder with --results, or --replace to train them again"
        )


def folds_of_other_engines(root: Path, jobs: Iterable[Job]) -> list[tuple[Path, RunRecord]]:
    """The finished jobs of the rows of these jobs that other source code of the bench made."""
    rows = {row_folder(root, job): job for job in jobs}
    return [
        (folder, record)
        for row, job in rows.items()
        for folder, record in _records_of_row(row)
        if record.job.row_id == job.row_id and record.engine_sha256 != engine_sha256()
    ]


def refuse_mixing(root: Path, jobs: Sequence[Job]) -> None:
    """Raise ResultsError if these jobs would continue rows of other source code of the bench."""
    others = folds_of_other_engines(root, jobs)
    if not others:
        return
    commits = sorted({record.git_commit[:9] or "unknown" for _, record in others})
    raise ResultsError(
        f"{len(others)} finished folds of these rows were made by other code of the bench (commit "
        f"{listing(commits)}; first: {others[0][0]}); --replace trains them again, --mix-code "
        "continues the rows and marks them, --results takes another folder"
    )


def version_row(root: Path, job: Job) -> str:
    """The name of a job's row: with ~2, ~3, ... if the method had other code in its first rows.

    So a changed method file makes a new row, and the finished one stays. A row is the first one
    without finished jobs, or with one of the same code.
    """
    base, number = row_folder(root, job), 1
    while True:
        name = f"{job.row}~{number}" if number > 1 else job.row
        sources = {record.job.method_source for _, record in _records_of_row(base.with_name(name))}
        if not sources or job.method_source in sources:
            return name
        number += 1


def _records_of_row(row: Path) -> Iterator[tuple[Path, RunRecord]]:
    """The readable records in a row's folder."""
    for path in visible(row, f"seed*/**/{RECORD}"):
        record = read_record(path.parent)
        if record is not None:
            yield path.parent, record


def damaged_folds(jobs: Sequence[StoredJob]) -> list[str]:
    """A message for each unreadable record, then for each damaged file of predictions."""
    unreadable = [job for job in jobs if job.record is None]
    readable = [job for job in jobs if job.record is not None]
    return [
        f"{what}, its fold counts as missing: {fault}"
        for what, some in (("unreadable record", unreadable), ("damaged file", readable))
        for job in some
        for fault in job.faults
    ]


def records(results: Path, protocol: str, dataset: str) -> Iterator[tuple[Path, RunRecord]]:
    """Every readable record of a protocol and dataset, with its folder, in path order."""
    for folder in job_folders(results, protocol, dataset):
        record = read_record(folder)
        if record is not None:
            yield folder, record


def whole_records(jobs: Sequence[StoredJob]) -> list[tuple[Path, RunRecord]]:
    """The folders and records of the jobs whose predictions are complete and unchanged."""
    return [(job.folder, job.record) for job in jobs if job.record is not None and not job.faults]
