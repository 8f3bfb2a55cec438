"""Properties of every split that freeze draws, over many random cohorts."""

from __future__ import annotations

import csv
from collections import defaultdict
from typing import get_args

import numpy as np
import pytest

from bench.data.readers.ham10000 import read_ham10000
from bench.dataset import Dataset, Record
from bench.errors import ProtocolError, RolesError
from bench.folds.kinds import freeze
from bench.protocol import PARTS, Assigner, Roles, format_roles, load_protocol
from tests.conftest import ROOT
from tests.folds.cohorts import random_manifest, small_split
from tests.real_data import HAM10000, needs_ham10000

TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))


def sides_of(roles: Roles, owners: np.ndarray, column: int) -> dict[str, set[int]]:
    """The parts in which each owner's images stand, worked out the slow way."""
    sides: dict[str, set[int]] = defaultdict(set)
    for owner, part in zip(owners, roles.parts[:, column], strict=True):
        if owner is not None and owner == owner:  # noqa: PLR0124 - not NaN
            sides[owner].add(int(part))
    return sides


@pytest.mark.parametrize("dealer", get_args(Assigner))
@pytest.mark.parametrize("seed", range(25))
def test_groups_stay_whole_and_every_image_is_tested_once(seed: int, dealer: str) -> None:
    manifest = random_manifest(seed)
    rng = np.random.default_rng(seed)
    pairs = [tuple(rng.choice(manifest.image_ids, 2, replace=False)) for _ in range(5)]
    roles = freeze(manifest, small_split(seed=seed, dealer=dealer), pairs)
    natives, lesions = manifest.native_groups, manifest.table["lesion_id"].to_numpy(dtype=object)
    for column in range(roles.columns):
        for owners in (natives, lesions, roles.group_ids):
            assert all(len(side) == 1 for side in sides_of(roles, owners, column).values())
        for part in (TRAIN, VAL, TEST):
            held = set(manifest.labels[roles.parts[:, column] == part])
            assert held == set(manifest.labels), "every class stands in every part"
    assert ((roles.parts == TEST).sum(axis=1) == 1).all()
    group_of = dict(zip(roles.image_ids, roles.group_ids, strict=True))
    assert all(group_of[a] == group_of[b] for a, b in pairs)


@pytest.mark.parametrize("dealer", get_args(Assigner))
@pytest.mark.parametrize("seed", range(5))
def test_parts_have_the_sizes_that_the_split_asks_for(seed: int, dealer: str) -> None:
    manifest = random_manifest(seed, patients=150)
    roles = freeze(manifest, small_split(seed=seed, dealer=dealer))
    shares = np.stack([(roles.parts == part).mean(axis=0) for part in (TRAIN, VAL, TEST)])
    assert np.abs(shares - np.array([[0.7], [0.1], [0.2]])).max() < 0.01
    assert ((roles.parts == VAL).sum(axis=1) <= 1).mean() > 0.9, "val is shared out over images"


def test_the_same_seed_gives_the_same_file_and_another_does_not() -> None:
    manifest = random_manifest(3)
    texts = [format_roles(freeze(manifest, small_split(seed=seed))) for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_repeats_are_different_splits() -> None:
    manifest = random_manifest(4)
    roles = freeze(manifest, small_split(repeats=2, candidates=2))
    assert roles.columns == 10
    assert (roles.parts[:, :5] == TEST).sum() == (roles.parts[:, 5:] == TEST).sum() == len(manifest)
    assert (roles.parts[:, :5] != roles.parts[:, 5:]).any()


def test_a_class_with_too_few_groups_is_refused_by_name() -> None:
    records = [Record(f"I{at}", "mel" if at < 3 else "nv") for at in range(30)]
    manifest = Dataset.from_records("few", ("mel", "nv"), records)
    with pytest.raises(RolesError, match="5 folds need 5 groups of every class, but mel has 3"):
        freeze(manifest, small_split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val": 0.8}, "leave no train part"),
        ({"stratify": ["label", "hair"]}, "unknown key 'hair'; known are label, sex"),
    ],
)
def test_splits_that_cannot_be_drawn_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        freeze(random_manifest(0), small_split(**changes))


@needs_ham10000
def test_ham10000_frozen_anew_is_as_even_as_promised() -> None:
    """Every class within 5% of an equal share of test images, whatever the library versions."""
    folder = ROOT / "protocols"
    once = {"candidates": 1, "dealer": "greedy"}
    split = load_protocol("groupkfold5", folder).split.model_copy(update=once)
    with (folder / "groupkfold5" / "ham10000_duplicates.csv").open(newline="") as stream:
        pairs = [(row["image_a"], row["image_b"]) for row in csv.DictReader(stream)]
    manifest = read_ham10000(HAM10000)
    roles = freeze(manifest, split, pairs)
    even = np.bincount(manifest.labels) / 5
    for fold in range(5):
        tested = np.bincount(manifest.labels[roles.rows(fold, "test")], minlength=len(even))
        assert (np.abs(tested / even - 1) <= 0.05).all()
