"""Every way in which a roles file can be unsound is seen, and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.dataset import Dataset, Record
from bench.errors import RolesError
from bench.folds.kinds import freeze
from bench.folds.verify import verify
from bench.protocol import PARTS, Roles
from tests.folds.cohorts import protocol_of, random_manifest, small_split

TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))
PROTOCOL = protocol_of(small_split())


@pytest.fixture(scope="module")
def manifest() -> Dataset:
    """Lesions of two views each, ten of every class."""
    return Dataset.from_records(
        "lesions",
        ("mel", "nv"),
        [
            Record(f"I{lesion:02d}_{view}", ("mel", "nv")[lesion % 2], f"L{lesion:02d}")
            for lesion in range(20)
            for view in range(2)
        ],
    )


@pytest.fixture(scope="module")
def roles(manifest: Dataset) -> Roles:
    return freeze(manifest, small_split())


def changed(roles: Roles, row: int, column: int, part: int) -> Roles:
    parts = roles.parts.copy()
    parts[row, column] = part
    return replace(roles, parts=parts)


def test_sound_roles_are_proven_in_whole_sentences(roles: Roles, manifest: Dataset) -> None:
    proven = verify(roles, manifest, PROTOCOL)
    assert "every image is tested exactly once" in proven
    assert "no lesion and no group is in two parts of any fold" in proven
    assert "every lesion is in one group: 20 in 20 groups" in proven


def test_a_unit_that_is_the_group_is_named_once(manifest: Dataset) -> None:
    alone = manifest.table.assign(group_id=manifest.native_groups, lesion_id=None)
    grouped = replace(manifest, table=alone)
    proven = verify(freeze(grouped, small_split()), grouped, PROTOCOL)
    assert "no group is in two parts of any fold" in proven


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("one", "other"), [(TRAIN, VAL), (TRAIN, TEST), (VAL, TEST)])
def test_a_lesion_in_two_parts_is_named(
    roles: Roles, manifest: Dataset, seed: int, one: int, other: int
) -> None:
    rng = np.random.default_rng(seed)
    column = int(rng.integers(5))
    row = int(rng.choice(np.flatnonzero(roles.parts[:, column] == one)))
    lesion = manifest.native_groups[row]
    torn = changed(roles, row, column, other)
    message = f"lesion {lesion} is in {PARTS[one]} and {PARTS[other]} of fold {column}"
    with pytest.raises(RolesError, match=message):
        verify(torn, manifest, PROTOCOL)


def test_a_joined_group_in_two_parts_is_named(roles: Roles, manifest: Dataset) -> None:
    """Two lesions, each whole, that are said to be one group."""
    fold = roles.parts[:, 0]
    one, other = (int(np.flatnonzero(fold == part)[0]) for part in (TRAIN, TEST))
    groups = roles.group_ids.copy()
    groups[groups == groups[other]] = groups[one]
    joined = replace(roles, group_ids=groups)
    with pytest.raises(RolesError, match=rf"^group {groups[one]} is in train and test of fold 0"):
        verify(joined, manifest, PROTOCOL)


def test_a_lesion_in_two_groups_is_named(roles: Roles, manifest: Dataset) -> None:
    groups = roles.group_ids.copy()
    groups[0] = "another"
    with pytest.raises(RolesError, match="lesion L00 has more than one group_id"):
        verify(replace(roles, group_ids=groups), manifest, PROTOCOL)


def test_a_lesion_of_two_patients_must_share_a_group() -> None:
    """Half of its images have a patient id, half have none: one lesion all the same."""
    records = [
        Record(f"I{lesion:02d}_{view}", "nv", f"L{lesion:02d}", f"P{lesion}" if view else None)
        for lesion in range(20)
        for view in range(2)
    ]
    manifest = Dataset.from_records("mixed", ("nv",), records)
    roles = freeze(manifest, small_split())
    assert len(set(roles.group_ids)) == 20
    verify(roles, manifest, PROTOCOL)
    apart = replace(roles, group_ids=manifest.native_groups)
    with pytest.raises(RolesError, match="lesion L00 has more than one group_id"):
        verify(apart, manifest, PROTOCOL)


def test_known_duplicates_in_two_groups_are_named(roles: Roles, manifest: Dataset) -> None:
    with pytest.raises(RolesError, match="duplicates in different groups: I00_0 and I01_0"):
        verify(roles, manifest, PROTOCOL, [("I00_0", "I00_1"), ("I00_0", "I01_0")])
    with pytest.raises(RolesError, match="unknown images: I99_0"):
        verify(roles, manifest, PROTOCOL, [("I00_0", "I99_0")])
    assert "all 1 known duplicate pairs share a group" in verify(
        roles, manifest, PROTOCOL, [("I00_0", "I00_1")]
    )


def test_an_image_tested_twice_or_never_is_named(roles: Roles, manifest: Dataset) -> None:
    lesion = manifest.native_groups == "L04"
    tested = int(np.flatnonzero(roles.parts[lesion][0] == TEST)[0])
    for column, part, times in ((tested, TRAIN, 0), ((tested + 1) % 5, TEST, 2)):
        parts = roles.parts.copy()
        parts[lesion, column] = part
        with pytest.raises(RolesError, match=f"image I04_0 is tested {times} times in repeat 0"):
            verify(replace(roles, parts=parts), manifest, PROTOCOL)


def test_a_class_missing_from_a_part_is_named(roles: Roles, manifest: Dataset) -> None:
    parts = roles.parts.copy()
    moles = manifest.labels == 0
    parts[moles & (parts[:, 2] == VAL), 2] = TRAIN
    with pytest.raises(RolesError, match="no image of mel in val of fold 2"):
        verify(replace(roles, parts=parts), manifest, PROTOCOL)


def test_roles_of_another_roster_or_protocol_are_refused(roles: Roles, manifest: Dataset) -> None:
    with pytest.raises(RolesError, match="belong to another image list"):
        verify(roles, random_manifest(0), PROTOCOL)
    strange = replace(roles, image_ids=roles.image_ids[::-1])
    with pytest.raises(RolesError, match="image ids of the roles differ"):
        verify(strange, manifest, PROTOCOL)
    with pytest.raises(RolesError, match="have 5 fold columns, small needs 10"):
        verify(roles, manifest, protocol_of(small_split(repeats=2)))


def test_a_control_may_divide_groups_on_purpose(roles: Roles, manifest: Dataset) -> None:
    column = int(np.flatnonzero(roles.parts[0] == TRAIN)[0])
    torn = changed(roles, 0, column, VAL)
    control = protocol_of(small_split(control=True))
    assert not any("two parts" in statement for statement in verify(torn, manifest, control))


def test_folds_of_repeats_are_named_with_their_repeat(manifest: Dataset) -> None:
    split = small_split(repeats=2)
    roles = freeze(manifest, split)
    row = int(np.flatnonzero(roles.parts[:, 7] == TRAIN)[0])
    with pytest.raises(RolesError, match="in train and val of fold 2 of repeat 1"):
        verify(changed(roles, row, 7, VAL), manifest, protocol_of(split))
    proven = verify(roles, manifest, protocol_of(split))
    assert "every image is tested exactly once in every repeat" in proven
