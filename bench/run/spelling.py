"""Image ids of somebody's file that are empty, or a dataset's own in another spelling."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.errors import PredictionError, listing

ENDING = re.compile(r"\.(?:jpe?g|png)$", re.IGNORECASE)
FEW = 3
"""Offenders that are named where all have one fault."""
LONGEST = 80


def refuse_rows_without_id(ids: pd.Series, where: str) -> None:
    """Raise PredictionError that names the rows whose image id is empty."""
    empty = ids.isna() | (ids.astype(str).str.strip() == "")
    if empty.any():
        told = listing([f"row {number}" for number in ids.index[empty]], FEW)
        raise PredictionError(f"{where}: no image id in {told}; give it, or remove the row")


def refuse_other_spelling(ids: pd.Series, known: Sequence[str], where: str) -> None:
    """Raise PredictionError where ids are the dataset's but for what people and programs change.

    To say of each that it is unknown, and of each image that it is missing, would hide the cure.
    """
    count = Counter(map(_plain, known))
    meant = {_plain(name): name for name in known if count[_plain(name)] == 1}
    strange = [each for each in ids[~ids.isin(known)] if _plain(each) in meant]
    if not strange:
        return
    cures = {cure for each in strange for cure in _cures(each, meant[_plain(each)])}
    told = [f"{each[:LONGEST]!a} for {meant[_plain(each)]}" for each in strange]
    raise PredictionError(
        f"{where}: image ids that differ from the dataset's in spelling alone ({len(strange)} of "
        f"{len(ids)}): {listing(told, FEW)}; give ids {' and '.join(sorted(cures))}"
    )


def _plain(image_id: str) -> str:
    """An id without what people and programs change in it."""
    return ENDING.sub("", image_id.strip().casefold())


def _cures(given: str, meant: str) -> Iterator[str]:
    """What to do about an id that is another only in spelling."""
    bare = given.strip()
    if given != bare:
        yield "without white space around them"
    theirs, own = ("".join(ENDING.findall(each)) for each in (bare, meant))
    other_ending = theirs.lower() != own.lower()
    if other_ending:
        yield f"with {own}" if own else f"without {theirs}"
    stems = bare.removesuffix(theirs), meant.removesuffix(own)
    if stems[0] != stems[1] or (theirs != own and not other_ending):
        yield "in the dataset's letter case"
