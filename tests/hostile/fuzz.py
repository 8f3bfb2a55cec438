"""Fuzzing by atheris: each parser of `parsers.py` under inputs that coverage guides. Run by hand.

    pip install atheris
    python -m tests.hostile.fuzz PARSER [-max_total_time=SECONDS] [-runs=N]

Any exception but a BenchError stops it, and leaves the input as crash-<hash>. Times and counts of
the last runs are in docs/verification/fuzzing.txt.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bench", "tests.hostile", "tomllib", "csv"]):
    from bench.errors import BenchError
    from tests.hostile.parsers import PARSERS, seeds


def main() -> None:
    """Fuzz the parser that the first word names, from the sound files of its kind."""
    kind, *words = sys.argv[1:] or [""]
    if kind not in PARSERS:
        sys.exit(f"which parser? one of: {', '.join(PARSERS)}")
    parse = PARSERS[kind]

    def one_input(content: bytes) -> None:
        with suppress(BenchError):
            parse(content)

    with tempfile.TemporaryDirectory() as corpus:
        for number, sound in enumerate(seeds()[kind]):
            (Path(corpus) / str(number)).write_bytes(sound)
        atheris.Setup([sys.argv[0], *words, corpus], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
