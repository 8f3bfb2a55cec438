"""Parquet files of a few kilobytes that would unpack to gigabytes are refused before they do."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from bench.errors import PredictionError
from bench.run.results import read_parquet
from tests.conftest import ROOT

MIB = 1 << 20


def written(columns: dict[str, object]) -> bytes:
    """A file that does not say how Arrow held its columns, so that dictionaries are unpacked."""
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream, compression="zstd", store_schema=False)
    return stream.getvalue()


def long_text() -> bytes:
    return written({"image_id": ["x" * 64 * MIB], "p_a": [1.0]})


def long_text_in_every_row() -> bytes:
    """Kept once: the footer states half a mebibyte, truly."""
    ids = pa.DictionaryArray.from_arrays(np.zeros(20_000, np.int32), ["x" * (MIB // 2)])
    return written({"image_id": ids, "p_a": np.ones(20_000)})


def long_list() -> bytes:
    return written({"image_id": [[1] * 10_000_000], "p_a": [1.0]})


def long_value() -> bytes:
    values = pa.array([bytes(MIB)] * 100, pa.binary(MIB))
    return written({"image_id": ["a"] * 100, "p_a": values})


BOMBS = [long_text, long_text_in_every_row, long_list, long_value]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_that_unpacks_to_much_is_refused_unread(bomb):
    content = bomb()
    assert len(content) < MIB // 4
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(PredictionError, match=r"^p.parquet: "):
            read_parquet(content, "p.parquet")
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < 8 * MIB


def varint(number: int) -> bytes:
    """A number as a Parquet footer writes it."""
    left, made = number << 1, bytearray()
    while left > 127:
        made.append(left & 127 | 128)
        left >>= 7
    return bytes([*made, left])


def test_a_footer_that_states_too_little_is_found_out():
    content = long_text()
    group = parquet.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    for size in (group.total_byte_size, group.column(0).total_uncompressed_size):
        true = varint(size)
        assert true in content
        content = content.replace(true, bytes([*[128] * (len(true) - 1), 0]))
    group = parquet.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    assert (group.total_byte_size, group.column(0).total_uncompressed_size) == (0, 0)
    with pytest.raises(PredictionError, match="1 rows of 2 columns unpack to more than"):
        read_parquet(content, "p.parquet")


HONEST = {
    "no rows": pd.DataFrame({"image_id": ["a"], "p_a": [1.0]}).iloc[:0],
    "one row of a long id": pd.DataFrame({"image_id": ["x" * 200], "p_a": [1.0]}),
    "categories": pd.DataFrame({"image_id": pd.Categorical(["a", "b", "a"]), "p_a": [0.1, 1, 0]}),
    "an index": pd.DataFrame({"p_a": [0.5, 1]}, index=pd.Index(["a", "b"], name="image_id")),
    "half precision": pd.DataFrame({"image_id": ["a", None], "p_a": np.array([1, 0], np.float16)}),
    "a name with a dot": pd.DataFrame({"image_id": ["a"], "p_a.b": [1.0], "fold": [0]}),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_table_is_read_as_it_is(name):
    stream = io.BytesIO()
    HONEST[name].to_parquet(stream)
    pd.testing.assert_frame_equal(
        read_parquet(stream.getvalue(), "p.parquet"), pd.read_parquet(stream)
    )


TASKS = Path("/proc/self/task")
COUNTING = """
import sys
from pathlib import Path

import pyarrow.dataset

from bench.run.results import read_parquet

def threads():
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return sum(name != "jemalloc_bg_thd" for name in names)

before = threads()
read_parquet(Path(sys.argv[1]).read_bytes(), "x")
print(threads() - before)
"""


@pytest.mark.skipif(not TASKS.is_dir(), reason="no list of a process's threads")
def test_reading_leaves_no_thread_that_could_abort_the_end_of_the_process(tmp_path):
    pd.DataFrame({"image_id": ["a"], "p_a": [1.0]}).to_parquet(tmp_path / "x.parquet")
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(tmp_path / "x.parquet")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "0"
