"""From the command to the finished leaderboard: `report --protocol groupkfold5`, timed.

    python -m benchmarks.board --data DIR > benchmarks/results/board.txt

DIR is HAM10000, of which the committed predictions are. `--rows` of them (default: six, in the
order of their names) are put beside a copy of the code, so that the board has as many ranked rows,
and three references. The command runs as a user types it, each time into a results folder of its
own: once untimed (compiled loops and modules go into their caches), then `--runs` times, wall
seconds each. Nothing else should run beside it.

`--against DIR` is the root of another working tree of the bench, whose code takes turns with this
one's; the last line then is the median of the ratios.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.settings import BENCH, COMMITTED
from benchmarks.machine import described

PARTS = ("bench", "baselines", "protocols", "reports", "bench.py")
PROTOCOL, DATASET = "groupkfold5", "ham10000"


def copied(tree: Path, rows: int, where: Path) -> Path:
    """The bench of a tree with so many committed rows; gives its bench.py."""
    unwanted = shutil.ignore_patterns("__pycache__", COMMITTED.name)
    for part in PARTS:
        if (tree / part).is_dir():
            shutil.copytree(tree / part, where / part, ignore=unwanted)
        else:
            shutil.copy(tree / part, where / part)
    mine = COMMITTED / PROTOCOL / DATASET
    # the same rows for both trees
    for row in sorted(path.name for path in mine.iterdir())[:rows]:
        shutil.copytree(mine / row, where / "baselines" / COMMITTED.name / PROTOCOL / DATASET / row)
    return where / BENCH.name


def timed(program: Path, data: Path) -> float:
    """Seconds from the command to its end. Raises CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, str(program), "report", "--protocol", PROTOCOL]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--data", str(data.resolve()), "--results", results],
            cwd=program.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            done.check_returncode()
        (Path(results) / PROTOCOL / DATASET / "leaderboard" / "index.html").stat()
    return seconds


def main() -> None:
    """Time the command and print every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    print(described("numpy", "pandas", "numba", "altair", "jinja2", used="of which all are used"))
    print(f"report --protocol {PROTOCOL}, {asked.rows} committed rows of {DATASET}")
    trees = {"this": BENCH.parent, **({"other": asked.against} if asked.against else {})}
    with tempfile.TemporaryDirectory() as folder:
        programs = {
            name: copied(tree, asked.rows, Path(folder) / name) for name, tree in trees.items()
        }
        for name, program in programs.items():
            print(f"untimed first run of {name}: {timed(program, asked.data):.1f} s", flush=True)
        runs: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(asked.runs):
            for name, program in programs.items():
                runs[name].append(timed(program, asked.data))
                print(f"{runs[name][-1]:8.2f} s  {name}", flush=True)
    for name, seconds in runs.items():
        print(
            f"{name}: median {median(seconds):.2f} s of {len(seconds)} runs, "
            f"{min(seconds):.2f} to {max(seconds):.2f}"
        )
    if asked.against:
        ratio = median(a / b for a, b in zip(*runs.values(), strict=True))
        print(f"this / other: {ratio:.3f}")


if __name__ == "__main__":
    main()
