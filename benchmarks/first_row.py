"""From an idea to its row and its comparison page: the commands of a newcomer, each timed.

    python -m benchmarks.first_row > benchmarks/results/first_row.txt

In an empty folder, on the synthetic set: `method new`, `method check`, `run` of the new file and of
a baseline on five folds, `compare`. Wall seconds, the synthetic images drawn already. `--kind` is
the starting file (default: recipe), `--against` the baseline (default: custom_cnn).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.data.synthetic import open_synthetic
from bench.settings import BENCH
from benchmarks.machine import described

PROTOCOL = ("--protocol", "groupkfold5")


def commands(kind: str, against: str) -> list[list[str]]:
    """What a newcomer types."""
    return [
        ["method", "new", "mine", "--kind", kind],
        ["method", "check", "mine.py"],
        ["run", *PROTOCOL, "--method", "mine.py", "--method", against],
        ["compare", "mine", against, *PROTOCOL],
    ]


def timed(words: list[str], folder: str) -> float:
    """Seconds that a command takes. Raises CalledProcessError with what it said where it fails."""
    started = time.perf_counter()
    command = [sys.executable, str(BENCH), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()
    return time.perf_counter() - started


def main() -> None:
    """Type it all and print what each command took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="recipe")
    parser.add_argument("--against", default="custom_cnn")
    asked = parser.parse_args()
    open_synthetic()
    print(described("torch", "timm"))
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for words in commands(asked.kind, asked.against):
            seconds = timed(words, folder)
            total += seconds
            print(f"{seconds:8.1f} s  python bench.py {' '.join(words)}", flush=True)
        (page,) = Path(folder).glob("results/*/*/leaderboard/compare/*/index.html")
        print(f"{total:8.1f} s  in all, to {page.relative_to(folder)}")


if __name__ == "__main__":
    main()
