"""What each kind of split promises beyond whole groups: who is tested, and how arms pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from bench.errors import RolesError
from bench.manifest import Manifest
from bench.protocol import PARTS, Kind, Protocol, Roles
from bench.splits.strata import strata

TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))
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


PROOFS: dict[Kind, Callable[[Roles, Manifest, Protocol], Iterator[str]]] = {
    "groupkfold": _prove_tested_once,
    "leakage-meter": _prove_meter,
}
