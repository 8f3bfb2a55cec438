"""What is known of a dataset's duplicates before an audit looks for them.

Frozen roles unite the pairs that were known when they were drawn, and never change. What was found
since stands in a list of its own: known, and left apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MissedPair:
    """Two images of one lesion that frozen roles leave apart: known since, by whose verdict, and
    the file that lists them."""

    image_a: str
    image_b: str
    verdict: str
    file: str


@dataclass(frozen=True)
class KnownPairs:
    """Pairs of images known to show one lesion or picture under two native groups.

    group_of  the group of each image as the roles, or the committed list, unite native groups
    united    the listed pairs that stand in one group so
    missed    the pairs known since
    """

    group_of: Mapping[str, str] = field(default_factory=dict)
    united: frozenset[tuple[str, str]] = frozenset()
    missed: tuple[MissedPair, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How many pairs of images across native groups are known, found again, and new.

    joined_found  pairs found that the groups unite, though no list names them
    """

    united: int
    united_found: int
    joined_found: int
    missed: int
    missed_found: int
    new_sure: int
    new_doubtful: int

    @property
    def told(self) -> str:
        """The same in a sentence."""
        joined = f" and {self.joined_found} more in the same groups" if self.joined_found else ""
        return (
            f"{self.united} known pairs are united, {self.united_found} of them{joined} found "
            f"again; {self.missed} pairs known since are left apart by frozen roles, "
            f"{self.missed_found} of them found again; new are {self.new_sure} sure pairs and "
            f"{self.new_doubtful} to be looked at"
        )
