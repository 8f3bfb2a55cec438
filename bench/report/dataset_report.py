"""Data of the dataset page: a dataset under a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.leaderboard import Leaderboard, LeaderboardRow
from bench.protocol import PARTS, Protocol, Roles

LEFT_OUT = {
    "source-holdout": "their group also has images of the tested source",
    "learning-curve": "the arm trains on fewer groups",
    "leakage-meter": "neither tested nor needed by that arm",
}
"""Why images are in no part of a fold, by protocol kind."""


@dataclass(frozen=True)
class KnownPairs:
    """Pairs of images that show one lesion under two ids.

    frozen  known before the roles were frozen
    later   found later: the roles do not join them. Both have the columns image_a, image_b, and
            those of the committed list.
    """

    frozen: pd.DataFrame
    later: pd.DataFrame


@dataclass(frozen=True)
class DatasetReport:
    """A dataset under a protocol.

    left_out    number of metadata rows that the reader skipped, by title of the issue
    balance     the balance of the folds, by part
    detectable  by class, the smallest true difference that the paired interval detects
    assumed     its assumptions: disagreement, correlation, power, level
    proven      the invariants checked on the frozen roles, one sentence each
    """

    protocol: Protocol
    manifest: Dataset
    roles: Roles
    board: Leaderboard
    left_out: Mapping[str, int]
    balance: Mapping[str, pd.DataFrame]
    detectable: pd.DataFrame
    assumed: Mapping[str, float]
    pairs: KnownPairs
    proven: tuple[str, ...]

    @property
    def trained(self) -> list[LeaderboardRow]:
        """The rows that the bench trained."""
        return [row for row in self._made if not row.facts.members]

    @property
    def ensembles(self) -> list[LeaderboardRow]:
        """The ensembles: rows without a training."""
        return [row for row in self._made if row.facts.members]

    @property
    def _made(self) -> list[LeaderboardRow]:
        return [row for row in self.board.rows if row.kind == "trained"]

    @property
    def submitted(self) -> list[LeaderboardRow]:
        """The submitted rows."""
        return [row for row in self.board.rows if row.kind == "submitted"]

    @cached_property
    def tested(self) -> np.ndarray:
        """Whether any fold tests an image (N,)."""
        tested: np.ndarray = (self.roles.parts == PARTS.index("test")).any(axis=1)
        return tested

    @cached_property
    def native_groups(self) -> int:
        """Number of groups in the dataset, before known duplicates are joined."""
        return len(set(self.manifest.native_groups.tolist()))

    @cached_property
    def groups(self) -> int:
        """Number of groups in the roles."""
        return len(set(self.roles.group_ids.tolist()))

    def size(self, column: int, part: str) -> tuple[int, int]:
        """Number of images and groups in a part of a fold column; part "" is what is left out."""
        rows = self.roles.rows(column, part)
        return len(rows), len(set(self.roles.group_ids[rows].tolist()))

    def fold_name(self, column: int) -> str:
        """`fold 2`, with its repeat or arm if there are several."""
        split, fold = self.protocol.split, column % self.protocol.folds
        if split.arms:
            arm = next(arm for arm, columns in split.arm_columns.items() if column in columns)
            return f"fold {column}, {arm}"
        repeat = column // self.protocol.folds
        return f"fold {fold}" + (f", repeat {repeat}" if split.repeats > 1 else "")
