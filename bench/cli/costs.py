"""What each mistake costs, as the user says: kept beside the leaderboard that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

KEPT = "costs.csv"


def keep_costs(path: Path, leaderboard: Path, classes: tuple[str, ...]) -> None:
    """Put a matrix of costs into a leaderboard's folder, so that every later page is made with it.

    Raises DataError where it is none.
    """
    from bench.files import write_atomically

    text, _ = _read(path, classes, f"--costs {path}")
    write_atomically(leaderboard / KEPT, text.encode())


def kept_costs(leaderboard: Path, classes: tuple[str, ...]) -> np.ndarray | None:
    """The matrix (C, C) that was kept, if one was. Raises DataError where it is none any more."""
    path = leaderboard / KEPT
    return _read(path, classes, str(path))[1] if path.exists() else None


def _read(path: Path, classes: tuple[str, ...], where: str) -> tuple[str, np.ndarray]:
    from bench.score.extras import parse_costs

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{where}: is not UTF-8 text") from None
    return text, parse_costs(text, classes, where)
