"""Verify a roles file: it belongs to the dataset, and no group is in two parts of a fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.errors import RolesError, listing
from bench.folds.assign import Pair, stratify_by
from bench.protocol import LEFT_OUT, PARTS, TEST, TRAIN, VAL, Kind, Protocol, Roles, arm_share

SLACK = 0.02  # allowed deviation of an arm's share of groups: parts are balanced in images
FIX = "restore the committed roles file, or freeze a protocol of another name"


def prove_invariants(roles: Roles, dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """Prove the invariants of the kind of split; one sentence each. Raises RolesError."""
    if protocol.split.arms:
        yield from _prove_paired_columns(roles, protocol)
    yield from PROOFS[protocol.split.kind](roles, dataset, protocol)


def _prove_tested_once(roles: Roles, _dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    tested = roles.parts[:, : protocol.split.folds * protocol.split.repeats] == TEST
    times = tested.reshape(len(roles.image_ids), protocol.split.repeats, -1).sum(axis=2)
    if (times != 1).any():
        row, repeat = np.argwhere(times != 1)[0]
        raise RolesError(
            f"image {roles.image_ids[row]} is tested {times[row, repeat]} times in repeat {repeat} "
            f"({(times != 1).any(axis=1).sum()} such images); {FIX}"
        )
    arms = " of every arm" if protocol.split.arms else ""
    repeats = " in every repeat" if protocol.split.repeats > 1 else ""
    yield f"every image is tested exactly once{repeats}{arms}"


def _prove_paired_columns(roles: Roles, protocol: Protocol) -> Iterator[str]:
    """The n-th columns of all arms have the same test images and the same val images."""
    first, *others = protocol.split.arm_columns.items()
    for arm, columns in others:
        for column, paired in zip(columns, first[1], strict=True):
            for part in (TEST, VAL):
                differ = (roles.parts[:, column] == part) != (roles.parts[:, paired] == part)
                if differ.any():
                    raise RolesError(
                        f"image {roles.image_ids[differ.argmax()]} is {PARTS[part]} in only one of "
                        f"fold {paired} (arm {first[0]}) and fold {column} (arm {arm}); {FIX}"
                    )
    names = ", ".join(protocol.split.arms)
    yield f"the arms {names} have the same val and test images, fold by fold"


def _prove_meter(roles: Roles, dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """Clean: no sibling of a test image in train. Leaky: a sibling of every test image in train.

    Both arms have the same number of images and groups of each class and source.
    """
    arms = protocol.split.arm_columns
    kinds = np.array([dataset.labels.astype(str), stratify_by(dataset, "source")], dtype=object)
    for clean, leaky in zip(arms["clean"], arms["leaky"], strict=True):
        training = {column: roles.rows(column, "train") for column in (clean, leaky)}
        trained = set(roles.group_ids[training[leaky]].tolist())
        validated = set(roles.group_ids[roles.rows(clean, "val")].tolist())
        if validated & trained:
            raise RolesError(
                f"group {min(validated & trained)} is in train and val of fold {leaky}; {FIX}"
            )
        tested = roles.rows(clean, "test")
        without = [row for row in tested if roles.group_ids[row] not in trained]
        if without:
            raise RolesError(
                f"test image {roles.image_ids[without[0]]} has no sibling in train of fold "
                f"{leaky} (arm leaky; {len(without)} such images); {FIX}"
            )
        if len(set(roles.group_ids[tested].tolist())) < len(tested):
            raise RolesError(f"fold {clean} tests more than one image of a group; {FIX}")
        images, groups = (
            [Counter(zip(*kinds[:, rows], *more(rows), strict=True)) for rows in training.values()]
            for more in (lambda _: (), lambda rows: (roles.group_ids[rows],))
        )
        if images[0] != images[1] or len({group[2] for group in groups[0]}) != len(
            {group[2] for group in groups[1]}
        ):
            raise RolesError(
                f"the training parts of folds {clean} and {leaky} differ in their number of "
                f"images by class and source, or in their number of groups; {FIX}"
            )
    tested_groups = sum(len(roles.rows(column, "test")) for column in arms["clean"])
    yield f"{tested_groups:,} groups are tested by one image each; clean: no sibling of it in train"
    yield "leaky: a sibling of every test image is in train"
    yield "both arms train on the same number of images and groups of each class and source"


def _prove_shares(roles: Roles, _dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """Val and test have their shares of the images, up to one group or 1%."""
    split = protocol.split
    largest = np.unique(roles.group_ids.astype(str), return_counts=True)[1].max()
    for part, share in (("val", split.val), ("test", split.test or 0.0)):
        images = len(roles.rows(0, part))
        if abs(images - share * len(roles.image_ids)) > max(largest, 0.01 * len(roles.image_ids)):
            raise RolesError(
                f"{images} of {len(roles.image_ids)} images are {part}, {protocol.name} requires "
                f"{share:.0%}; {FIX}"
            )
        yield f"{images / len(roles.image_ids):.1%} of the images are {part}"
    if (roles.parts == LEFT_OUT).any():
        row = int((roles.parts == LEFT_OUT).any(axis=1).argmax())
        raise RolesError(f"image {roles.image_ids[row]} is left out of the only fold; {FIX}")


def _prove_sources(roles: Roles, dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """Every fold tests all images of one source and of no other source."""
    yield from _prove_tested_once(roles, dataset, protocol)
    sources = stratify_by(dataset, "source")
    for column in range(roles.columns):
        tested = roles.parts[:, column] == TEST
        names = sorted(set(sources[tested].tolist()))
        if len(names) != 1 or (sources[~tested] == names[0]).any():
            raise RolesError(f"fold {column} does not test exactly the images of one source; {FIX}")
        left_out = int((roles.parts[:, column] == LEFT_OUT).sum())
        yield (
            f"fold {column} tests all {tested.sum():,} images of {names[0]}; left out: "
            f"{left_out} images of other sources whose group is tested"
        )


def _prove_curve(roles: Roles, dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """Each arm trains on its share of the groups, a subset of the arm before it."""
    yield from _prove_tested_once(roles, dataset, protocol)
    arms = list(protocol.split.arm_columns.items())
    training = roles.parts == TRAIN
    for (before, wide), (arm, narrow) in pairwise(arms):
        extra = training[:, list(narrow)] & ~training[:, list(wide)]
        if extra.any():
            row = int(extra.any(axis=1).argmax())
            raise RolesError(
                f"image {roles.image_ids[row]} is train in arm {arm} but not in {before}; {FIX}"
            )
    sizes = {
        arm: [len(set(roles.group_ids[training[:, column]].tolist())) for column in columns]
        for arm, columns in arms
    }
    for arm, counts in sizes.items():
        for count, whole in zip(counts, sizes[arms[0][0]], strict=True):
            slack = SLACK * whole + len(dataset.classes)
            if abs(count - arm_share(arm) * whole) > slack:
                raise RolesError(f"arm {arm} trains on {count} of {whole} groups; {FIX}")
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
    roles: Roles, dataset: Dataset, protocol: Protocol, duplicates: Iterable[Pair] = ()
) -> list[str]:
    """Prove that the roles fit this dataset and protocol; return the proven facts as sentences.

    duplicates: pairs of image ids that must share a group. A control protocol divides groups on
    purpose: its groups and lesions are checked in the first arm only, or not at all without arms.
    Raises RolesError that names the first offender.
    """
    roles.refuse_other_roster(dataset)
    if roles.image_ids.tolist() != dataset.image_ids.tolist():
        raise RolesError(f"the image ids of the roles differ from those of {dataset.name}; {FIX}")
    identity = f"{len(dataset):,} images, sha256 {dataset.roster_sha256[:12]}..."
    proven = [f"the roles belong to this image list of {dataset.name}: {identity}"]
    proven += _prove_columns(roles, protocol)
    proven += _prove_coarsening(roles, dataset)
    proven += _prove_duplicates(roles, list(duplicates))
    proven += _prove_whole(roles, dataset, protocol)
    proven += prove_invariants(roles, dataset, protocol)
    proven += _prove_classes(roles, dataset, protocol)
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
            f"{protocol.columns}; {FIX}"
        )
    folds = "1 fold" if roles.columns == 1 else f"{roles.columns} folds"
    yield f"{folds}, as {protocol.name} requires"


def _prove_coarsening(roles: Roles, dataset: Dataset) -> Iterator[str]:
    """Every native group and every lesion has one group id."""
    owners = [(dataset.unit, dataset.native_groups), ("lesion", dataset.table["lesion_id"])]
    for unit, owner in owners:
        counts = pd.Series(roles.group_ids).groupby(np.asarray(owner, dtype=object)).nunique()
        torn = sorted(counts.index[counts > 1].tolist())
        if torn:
            raise RolesError(
                f"{unit} {torn[0]} has more than one group_id ({len(torn)} such); {FIX}"
            )
    natives = len(set(dataset.native_groups.tolist()))
    groups = len(set(roles.group_ids.tolist()))
    yield f"every {dataset.unit} is in one group: {natives:,} in {groups:,} groups"


def _prove_duplicates(roles: Roles, pairs: list[Pair]) -> Iterator[str]:
    group_of = dict(zip(roles.image_ids.tolist(), roles.group_ids.tolist(), strict=True))
    unknown = sorted({image_id for pair in pairs for image_id in pair if image_id not in group_of})
    if unknown:
        raise RolesError(f"the list of duplicates names unknown images: {listing(unknown)}")
    apart = [f"{a} and {b}" for a, b in pairs if group_of[a] != group_of[b]]
    if apart:
        raise RolesError(f"known duplicates in different groups: {listing(apart)}; {FIX}")
    if pairs:
        yield f"all {len(pairs)} known duplicate pairs share a group"


def _prove_whole(roles: Roles, dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """No native group, no lesion and no group is in two parts of a fold."""
    split = protocol.split
    if split.control and not split.arms:
        return
    columns = range(split.folds if split.control else roles.columns)
    owners = (
        (dataset.unit, dataset.native_groups),
        ("lesion", dataset.table["lesion_id"].to_numpy(dtype=object)),
        ("group", roles.group_ids),
    )
    for unit, owner in owners:
        for column in columns:
            _refuse_crossing(unit, owner, roles.parts[:, column], _fold_name(column, protocol))
    where = f"any fold of the arm {next(iter(split.arms))}" if split.control else "any fold"
    whole = " and ".join(f"no {unit}" for unit in dict.fromkeys((dataset.unit, "group")))
    yield f"{whole} is in two parts of {where}"


def _refuse_crossing(unit: str, owner: np.ndarray, part: np.ndarray, fold: str) -> None:
    """Raise RolesError if an owner has images in two of train, val and test."""
    placed = (part != LEFT_OUT) & ~pd.isna(owner)
    pairs = pd.DataFrame({"owner": owner[placed], "part": part[placed]}).drop_duplicates()
    crossing = sorted(pairs["owner"][pairs["owner"].duplicated()].unique().tolist())
    if crossing:
        codes = sorted(pairs["part"][pairs["owner"] == crossing[0]].tolist())
        names = " and ".join(PARTS[code] for code in codes)
        more = f" (and {len(crossing) - 1} more)" if len(crossing) > 1 else ""
        raise RolesError(f"{unit} {crossing[0]} is in {names} of {fold}{more}; {FIX}")


def _prove_classes(roles: Roles, dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """Every part of every fold has every class, except those that the protocol declares absent."""
    known = protocol.roles.get(dataset.name)
    declared = {} if known is None else known.absent
    absent = absent_classes(roles, dataset)
    for place in sorted(absent.keys() | declared.keys()):
        column, _, part = place.removeprefix("fold").partition(".")
        fold = _fold_name(int(column), protocol)
        undeclared = [name for name in absent.get(place, []) if name not in declared.get(place, [])]
        if undeclared:
            raise RolesError(f"no image of {listing(undeclared)} in {part} of {fold}; {FIX}")
        wrong = [name for name in declared.get(place, []) if name not in absent.get(place, [])]
        if wrong:
            raise RolesError(
                f"{part} of {fold} has images of {listing(wrong)}, which are declared absent; "
                f"correct `absent` in [roles.{dataset.name}]"
            )
        yield f"declared: no {listing(absent[place])} in {part} of {fold}"
    exception = ", except those declared" if declared else ""
    yield f"every class is in train, val and test of every fold{exception}"


def absent_classes(roles: Roles, dataset: Dataset) -> dict[str, list[str]]:
    """Classes of the dataset without an image in a part of a fold, by `fold<k>.<part>`."""
    present = set(dataset.labels.tolist())
    absent = {}
    for column in range(roles.columns):
        for part in PARTS[1:]:
            missing = present - set(dataset.labels[roles.rows(column, part)].tolist())
            if missing:
                names = [dataset.classes[code] for code in sorted(missing)]
                absent[f"fold{column}.{part}"] = names
    return absent
