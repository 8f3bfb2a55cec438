"""Proof that a roles file is sound: it belongs to the data, and no group crosses its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.errors import RolesError, listing
from bench.folds.assign import Pair, strata
from bench.protocol import PARTS, Kind, Protocol, Roles, arm_share

TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))
SLACK = 0.02  # of all groups, by which an arm may miss its share: parts are even in images
CURE = "restore the committed roles file, or freeze a protocol of another name"


def prove_invariants(roles: Roles, manifest: Dataset, protocol: Protocol) -> Iterator[str]:
    """What the protocol's kind promises, proven, one sentence each. Raises RolesError."""
    if protocol.split.arms:
        yield from _prove_twins(roles, protocol)
    yield from PROOFS[protocol.split.kind](roles, manifest, protocol)


def _prove_tested_once(roles: Roles, _manifest: Dataset, protocol: Protocol) -> Iterator[str]:
    tested = roles.parts[:, : protocol.split.folds * protocol.split.repeats] == TEST
    times = tested.reshape(len(roles.image_ids), protocol.split.repeats, -1).sum(axis=2)
    if (times != 1).any():
        row, repeat = np.argwhere(times != 1)[0]
        raise RolesError(
            f"image {roles.image_ids[row]} is tested {times[row, repeat]} times in repeat {repeat} "
            f"({(times != 1).any(axis=1).sum()} such images); {CURE}"
        )
    arms = " of every arm" if protocol.split.arms else ""
    repeats = " in every repeat" if protocol.split.repeats > 1 else ""
    yield f"every image is tested exactly once{repeats}{arms}"


def _prove_twins(roles: Roles, protocol: Protocol) -> Iterator[str]:
    """The n-th columns of all arms test the same images and choose on the same ones."""
    first, *others = protocol.split.arm_columns.items()
    for arm, columns in others:
        for one, twin in zip(columns, first[1], strict=True):
            for part in (TEST, VAL):
                differ = (roles.parts[:, one] == part) != (roles.parts[:, twin] == part)
                if differ.any():
                    raise RolesError(
                        f"image {roles.image_ids[differ.argmax()]} is {PARTS[part]} in one of "
                        f"fold {twin} (arm {first[0]}) and fold {one} (arm {arm}), and not in the "
                        f"other; {CURE}"
                    )
    names = ", ".join(protocol.split.arms)
    yield f"the arms {names} have the same val and test images, fold by fold"


def _prove_meter(roles: Roles, manifest: Dataset, protocol: Protocol) -> Iterator[str]:
    """Clean: no sibling of a test image in training. Leaky: one or more of every test image, and as
    many images and groups of each class and source as clean."""
    arms = protocol.split.arm_columns
    kinds = np.array([manifest.labels.astype(str), strata(manifest, "source")], dtype=object)
    for clean, leaky in zip(arms["clean"], arms["leaky"], strict=True):
        training = {column: roles.rows(column, "train") for column in (clean, leaky)}
        known = set(roles.group_ids[training[leaky]].tolist())
        choosing = set(roles.group_ids[roles.rows(clean, "val")].tolist())
        if choosing & known:
            raise RolesError(
                f"group {min(choosing & known)} is in train and val of fold {leaky}; {CURE}"
            )
        tested = roles.rows(clean, "test")
        without = [row for row in tested if roles.group_ids[row] not in known]
        if without:
            raise RolesError(
                f"test image {roles.image_ids[without[0]]} has no sibling in train of fold "
                f"{leaky} (arm leaky; {len(without)} such images); {CURE}"
            )
        if len(set(roles.group_ids[tested].tolist())) < len(tested):
            raise RolesError(f"fold {clean} tests more than one image of a group; {CURE}")
        images, groups = (
            [Counter(zip(*kinds[:, rows], *more(rows), strict=True)) for rows in training.values()]
            for more in (lambda _: (), lambda rows: (roles.group_ids[rows],))
        )
        if images[0] != images[1] or len({group[2] for group in groups[0]}) != len(
            {group[2] for group in groups[1]}
        ):
            raise RolesError(
                f"the training parts of folds {clean} and {leaky} differ in their numbers of "
                f"images by class and source, or of groups; {CURE}"
            )
    whole = sum(len(roles.rows(column, "test")) for column in arms["clean"])
    yield f"{whole:,} groups are tested by one image each; clean: no sibling of it in training"
    yield "leaky: a sibling of every test image is in training"
    yield "both arms train on as many images of each class and source, and as many groups"


def _prove_shares(roles: Roles, _manifest: Dataset, protocol: Protocol) -> Iterator[str]:
    """Val and test have their shares of the images, as far as whole groups allow."""
    split = protocol.split
    largest = np.unique(roles.group_ids.astype(str), return_counts=True)[1].max()
    for part, wanted in (("val", split.val), ("test", split.test or 0.0)):
        images = len(roles.rows(0, part))
        if abs(images - wanted * len(roles.image_ids)) > max(largest, 0.01 * len(roles.image_ids)):
            raise RolesError(
                f"{images} of {len(roles.image_ids)} images are {part}, {protocol.name} says "
                f"{wanted:.0%}; {CURE}"
            )
        yield f"{images / len(roles.image_ids):.1%} of the images are {part}"
    if (roles.parts == 0).any():
        row = int((roles.parts == 0).any(axis=1).argmax())
        raise RolesError(f"image {roles.image_ids[row]} is left out of the only fold; {CURE}")


def _prove_sources(roles: Roles, manifest: Dataset, protocol: Protocol) -> Iterator[str]:
    """Every fold tests all images of one source, and nothing of a tested group teaches."""
    yield from _prove_tested_once(roles, manifest, protocol)
    sources = strata(manifest, "source")
    for column in range(roles.columns):
        tested = roles.parts[:, column] == TEST
        names = sorted(set(sources[tested].tolist()))
        if len(names) != 1 or (sources[~tested] == names[0]).any():
            raise RolesError(f"fold {column} does not test all of one source alone; {CURE}")
        out = int((roles.parts[:, column] == 0).sum())
        yield (
            f"fold {column} tests all {tested.sum():,} images of {names[0]}; left out: "
            f"{out} images of other sources whose group is tested"
        )


def _prove_curve(roles: Roles, manifest: Dataset, protocol: Protocol) -> Iterator[str]:
    """Each arm trains on its share of the groups, out of those of the arm before it."""
    yield from _prove_tested_once(roles, manifest, protocol)
    arms = list(protocol.split.arm_columns.items())
    training = roles.parts == TRAIN
    for (before, wide), (arm, narrow) in pairwise(arms):
        strange = training[:, list(narrow)] & ~training[:, list(wide)]
        if strange.any():
            row = int(strange.any(axis=1).argmax())
            raise RolesError(
                f"image {roles.image_ids[row]} teaches in arm {arm} and not in {before}; {CURE}"
            )
    sizes = {
        arm: [len(set(roles.group_ids[training[:, column]].tolist())) for column in columns]
        for arm, columns in arms
    }
    for arm, counts in sizes.items():
        for count, whole in zip(counts, sizes[arms[0][0]], strict=True):
            slack = SLACK * whole + len(manifest.classes)
            if abs(count - arm_share(arm) * whole) > slack:
                raise RolesError(f"arm {arm} trains on {count} of {whole} groups; {CURE}")
        yield f"arm {arm} trains on {min(counts):,} to {max(counts):,} groups a fold"


PROOFS: dict[Kind, Callable[[Roles, Dataset, Protocol], Iterator[str]]] = {
    "groupkfold": _prove_tested_once,
    "holdout": _prove_shares,
    "source-holdout": _prove_sources,
    "imagekfold": _prove_tested_once,
    "learning-curve": _prove_curve,
    "leakage-meter": _prove_meter,
}


def verify(
    roles: Roles, manifest: Dataset, protocol: Protocol, duplicates: Iterable[Pair] = ()
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
    proven += prove_invariants(roles, manifest, protocol)
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


def _prove_coarsening(roles: Roles, manifest: Dataset) -> Iterator[str]:
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


def _prove_whole(roles: Roles, manifest: Dataset, protocol: Protocol) -> Iterator[str]:
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


def _prove_classes(roles: Roles, manifest: Dataset, protocol: Protocol) -> Iterator[str]:
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


def absent_classes(roles: Roles, manifest: Dataset) -> dict[str, list[str]]:
    """Classes of the dataset that a part of a fold lacks, by `fold<k>.<part>`."""
    present = set(manifest.labels.tolist())
    found = {}
    for column in range(roles.columns):
        for part in PARTS[1:]:
            missing = present - set(manifest.labels[roles.rows(column, part)].tolist())
            if missing:
                found[f"fold{column}.{part}"] = [manifest.classes[code] for code in sorted(missing)]
    return found
