"""Tables of a Parquet file from anywhere, within limits.

A file of a few bytes can state any number of rows, and hold a text that unpacks to gigabytes, once
or in every row; so its footer is looked at first, and its texts are counted before they are
unpacked. A footer that states too little costs the pages it hides, of 2 GiB each at most.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd

from bench.errors import PredictionError
from bench.files import MOST_BYTES

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
