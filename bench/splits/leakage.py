"""Proof that a roles file is sound: it belongs to the data, and nothing leaks between its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from bench.errors import RolesError, listing
from bench.manifest import Manifest
from bench.protocol import PARTS, Protocol, Roles
from bench.splits.groups import Pair
from bench.splits.promises import CURE, prove_promises


def verify(
    roles: Roles, manifest: Manifest, protocol: Protocol, duplicates: Iterable[Pair] = ()
) -> list[str]:
    """Prove the roles sound for this manifest and protocol; what was proven, one sentence each.

    duplicates are pairs of image ids that must share a group. Where the protocol is a control, its
    groups are divided on purpose: groups and lesions are checked in the first arm only, and not at
    all where there are no arms. Raises RolesError that names the first offender.
    """
    roles.refuse_other_roster(manifest)
    if roles.image_ids.tolist() != manifest.image_ids.tolist():
        raise RolesError(f"the roles name other images than {manifest.name} has; {CURE}")
    roster = f"{len(manifest):,} images, sha256 {manifest.roster_sha256[:12]}..."
    proven = [f"the roles belong to this roster of {manifest.name}: {roster}"]
    proven += _prove_columns(roles, protocol)
    proven += _prove_coarsening(roles, manifest)
    proven += _prove_duplicates(roles, list(duplicates))
    proven += _prove_whole(roles, manifest, protocol)
    proven += prove_promises(roles, manifest, protocol)
    proven += _prove_classes(roles, manifest, protocol)
    return proven


def _fold_name(column: int, protocol: Protocol) -> str:
    if protocol.split.repeats == 1:
        return f"fold {column}"
    repeat, fold = divmod(column, protocol.folds)
    return f"fold {fold} of repeat {repeat}"


def _prove_columns(roles: Roles, protocol: Protocol) -> Iterator[str]:
    if roles.columns != protocol.columns:
        raise RolesError(
            f"the roles have {roles.columns} fold columns, {protocol.name} needs "
            f"{protocol.columns}; {CURE}"
        )
    folds = "1 fold" if roles.columns == 1 else f"{roles.columns} folds"
    yield f"{folds}, as {protocol.name} says"


def _prove_coarsening(roles: Roles, manifest: Manifest) -> Iterator[str]:
    """Every native group lies in one group, and so does every lesion."""
    owners = [(manifest.unit, manifest.native_groups), ("lesion", manifest.table["lesion_id"])]
    for unit, owner in owners:
        counts = pd.Series(roles.group_ids).groupby(np.asarray(owner, dtype=object)).nunique()
        torn = sorted(counts.index[counts > 1].tolist())
        if torn:
            raise RolesError(
                f"{unit} {torn[0]} has more than one group_id ({len(torn)} such); {CURE}"
            )
    natives = len(set(manifest.native_groups.tolist()))
    groups = len(set(roles.group_ids.tolist()))
    yield f"every {manifest.unit} lies in one group: {natives:,} in {groups:,} groups"


def _prove_duplicates(roles: Roles, pairs: list[Pair]) -> Iterator[str]:
    group_of = dict(zip(roles.image_ids.tolist(), roles.group_ids.tolist(), strict=True))
    strange = sorted({image_id for pair in pairs for image_id in pair if image_id not in group_of})
    if strange:
        raise RolesError(f"the list of duplicates names unknown images: {listing(strange)}")
    apart = [f"{a} and {b}" for a, b in pairs if group_of[a] != group_of[b]]
    if apart:
        raise RolesError(f"known duplicates in different groups: {listing(apart)}; {CURE}")
    if pairs:
        yield f"all {len(pairs)} known pairs of duplicates share a group"


def _prove_whole(roles: Roles, manifest: Manifest, protocol: Protocol) -> Iterator[str]:
    """No native group, no lesion and no group stands in two parts of a fold."""
    split = protocol.split
    if split.control and not split.arms:
        return
    columns = range(split.folds if split.control else roles.columns)
    owners = (
        (manifest.unit, manifest.native_groups),
        ("lesion", manifest.table["lesion_id"].to_numpy(dtype=object)),
        ("group", roles.group_ids),
    )
    for unit, owner in owners:
        for column in columns:
            _refuse_crossing(unit, owner, roles.parts[:, column], _fold_name(column, protocol))
    where = f"any fold of the arm {next(iter(split.arms))}" if split.control else "any fold"
    whole = " and ".join(f"no {unit}" for unit in dict.fromkeys((manifest.unit, "group")))
    yield f"{whole} stands on two sides of {where}"


def _refuse_crossing(unit: str, owner: np.ndarray, part: np.ndarray, fold: str) -> None:
    """Raise RolesError where an owner's images stand in two parts; left out is no part."""
    placed = (part > 0) & ~pd.isna(owner)
    pairs = pd.DataFrame({"owner": owner[placed], "part": part[placed]}).drop_duplicates()
    crossing = sorted(pairs["owner"][pairs["owner"].duplicated()].unique().tolist())
    if crossing:
        codes = sorted(pairs["part"][pairs["owner"] == crossing[0]].tolist())
        sides = " and ".join(PARTS[code] for code in codes)
        more = f" (and {len(crossing) - 1} more)" if len(crossing) > 1 else ""
        raise RolesError(f"{unit} {crossing[0]} is in {sides} of {fold}{more}; {CURE}")


def _prove_classes(roles: Roles, manifest: Manifest, protocol: Protocol) -> Iterator[str]:
    """Every part of every fold holds every class, but for those that the protocol declares."""
    known = protocol.roles.get(manifest.name)
    declared = {} if known is None else known.absent
    found = absent_classes(roles, manifest)
    for place in sorted(found.keys() | declared.keys()):
        column, _, part = place.removeprefix("fold").partition(".")
        fold = _fold_name(int(column), protocol)
        undeclared = [name for name in found.get(place, []) if name not in declared.get(place, [])]
        if undeclared:
            raise RolesError(f"no image of {listing(undeclared)} in {part} of {fold}; {CURE}")
        wrong = [name for name in declared.get(place, []) if name not in found.get(place, [])]
        if wrong:
            raise RolesError(
                f"declared absent, but there are images of {listing(wrong)} in {part} of {fold}; "
                f"correct `absent` in [roles.{manifest.name}]"
            )
        yield f"declared: no {listing(found[place])} in {part} of {fold}"
    but = ", but for those declared" if declared else ""
    yield f"every class stands in train, val and test of every fold{but}"


def absent_classes(roles: Roles, manifest: Manifest) -> dict[str, list[str]]:
    """Classes of the dataset that a part of a fold lacks, by `fold<k>.<part>`."""
    present = set(manifest.labels.tolist())
    found = {}
    for column in range(roles.columns):
        for part in PARTS[1:]:
            missing = present - set(manifest.labels[roles.rows(column, part)].tolist())
            if missing:
                found[f"fold{column}.{part}"] = [manifest.classes[code] for code in sorted(missing)]
    return found
