"""What each kind of split promises beyond whole groups: who is tested, and how arms pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from bench.errors import RolesError
from bench.manifest import Manifest
from bench.protocol import PARTS, Kind, Protocol, Roles, arm_share
from bench.splits.strata import strata

TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))
SLACK = 0.02  # of all groups, by which an arm may miss its share: parts are even in images
CURE = "restore the committed roles file, or freeze a protocol of another name"


def prove_promises(roles: Roles, manifest: Manifest, protocol: Protocol) -> Iterator[str]:
    """What the protocol's kind promises, proven, one sentence each. Raises RolesError."""
    if protocol.split.arms:
        yield from _prove_twins(roles, protocol)
    yield from PROOFS[protocol.split.kind](roles, manifest, protocol)


def _prove_tested_once(roles: Roles, _manifest: Manifest, protocol: Protocol) -> Iterator[str]:
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


def _prove_meter(roles: Roles, manifest: Manifest, protocol: Protocol) -> Iterator[str]:
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


def _prove_shares(roles: Roles, _manifest: Manifest, protocol: Protocol) -> Iterator[str]:
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


def _prove_sources(roles: Roles, manifest: Manifest, protocol: Protocol) -> Iterator[str]:
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


def _prove_curve(roles: Roles, manifest: Manifest, protocol: Protocol) -> Iterator[str]:
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


PROOFS: dict[Kind, Callable[[Roles, Manifest, Protocol], Iterator[str]]] = {
    "groupkfold": _prove_tested_once,
    "holdout": _prove_shares,
    "source-holdout": _prove_sources,
    "imagekfold": _prove_tested_once,
    "learning-curve": _prove_curve,
    "leakage-meter": _prove_meter,
}
