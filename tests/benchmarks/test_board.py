"""The copy of the bench that `benchmarks.board` times."""

from __future__ import annotations

import subprocess
import sys

from bench.settings import BENCH, COMMITTED
from benchmarks.board import DATASET, PROTOCOL, copied


def test_the_copy_is_a_bench_with_as_many_committed_rows_as_asked_for(tmp_path):
    program = copied(BENCH.parent, 2, tmp_path)
    rows = COMMITTED.relative_to(BENCH.parent) / PROTOCOL / DATASET
    known = sorted(path.name for path in (BENCH.parent / rows).iterdir())
    assert sorted(path.name for path in (tmp_path / rows).iterdir()) == known[:2]
    done = subprocess.run(
        [sys.executable, program, "protocol", "show", PROTOCOL], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
