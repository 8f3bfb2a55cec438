"""Leaderboards rendered once, and a browser where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.leaderboard import Leaderboard
from bench.report.render import render
from tests.report import boards, hostile


@pytest.fixture(scope="session")
def board() -> Leaderboard:
    return boards.leaderboard()


@pytest.fixture(scope="session")
def worst() -> Leaderboard:
    return hostile.worst()


@pytest.fixture(scope="session")
def files(board: Leaderboard) -> dict[str, str]:
    return render(board)


@pytest.fixture(scope="session")
def worst_files(worst: Leaderboard) -> dict[str, str]:
    return render(worst)


@pytest.fixture(scope="session")
def folder(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bench.report.render import write

    where = tmp_path_factory.mktemp("page")
    write(files, where)
    return where
