"""Audit of a dataset: metadata, files, duplicates.

Frozen roles unite the pairs that were known when they were drawn, and never change. What was found
since stands in a list of its own: known, and left apart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd

from bench.data.duplicates.near import (
    SURE,
    DuplicatePair,
    Duplicates,
    find_near_duplicates,
    no_progress,
)
from bench.data.image_checks import Looked, look_at_files
from bench.data.images import loader, look_for_images
from bench.data.issues import ISSUE_KINDS, Issue, IssueKind, raise_blocking
from bench.data.open import DatasetSpec, array_file, read_grouping, with_groups
from bench.data.readers.base import ImageList, image_list_of
from bench.dataset import Dataset, Record
from bench.errors import OFFENDERS_SHOWN, listing

SHOWN = 6


def check_rows(roster: ImageList) -> Iterator[Issue]:
    """Every fault of a roster that lies in its rows."""
    table = roster.table()
    ids = Counter(table["image_id"])
    for image_id, times in ids.items():
        if times > 1:
            yield Issue("twice", image_id, f"{times} rows")
    known = set(roster.classes)
    for record in roster.records:
        if record.label not in known:
            yield Issue("label", record.image_id, repr(record.label))
    yield from _alike(sorted(set(table["label"])))
    yield from _torn(table, "torn lesion", "lesion_id", "label")
    yield from _torn(table, "torn site", "lesion_id", "localization")
    for column in ("patient_id", "lesion_id"):
        yield from _torn(table, "torn sex", column, "sex")
    yield from (Issue("age missing", i, "") for i in table["image_id"][table["age"].isna()])
    yield from (Issue("age zero", i, "") for i in table["image_id"][table["age"] == 0])


def _alike(labels: list[str]) -> Iterator[Issue]:
    by_letters: dict[str, list[str]] = {}
    for label in labels:
        by_letters.setdefault(label.casefold(), []).append(label)
    for several in by_letters.values():
        if len(several) > 1:
            yield Issue("alike", several[0], listing(several))


def _torn(table: pd.DataFrame, kind: str, owner: str, column: str) -> Iterator[Issue]:
    """Owners (lesions, patients) whose images differ in a column."""
    known = table.dropna(subset=[owner, column])
    counts = known.groupby(owner)[column].nunique()
    torn = known[known[owner].isin(counts.index[counts > 1])]
    for name, rows in torn.groupby(owner, sort=True):
        values = sorted(set(rows[column]))
        where = f"{owner.removesuffix('_id')} {name}"
        images = listing(rows["image_id"].tolist(), SHOWN)
        yield Issue(kind, where, f"{', '.join(values)} ({images})")


def usable(roster: ImageList) -> Dataset:
    """A manifest of a faulty roster's rows, for looking at their images.

    Of several rows of one id the first is kept, every label is a class, and a lesion of two
    diagnoses is held together as a group. Raises DataError where no row is left.
    """
    table = roster.table()
    label_counts = table.dropna(subset=["lesion_id"]).groupby("lesion_id")["label"].nunique()
    torn = set(label_counts.index[label_counts > 1])
    kept: dict[str, Record] = {}
    for record in roster.records:
        fixed = record
        if record.lesion_id in torn:
            group = record.group_id or record.patient_id or record.lesion_id
            fixed = replace(record, group_id=group, lesion_id=None)
        kept.setdefault(record.image_id, fixed)
    labels = sorted({record.label for record in roster.records} | set(roster.classes))
    return replace(roster, records=tuple(kept.values()), classes=tuple(labels)).manifest()


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


Advance = Callable[[str, int, int], object]
"""Hears how far the audit is: name of the stage, how much of it is done, how much there is."""


@dataclass(frozen=True)
class Finding:
    """All faults of one kind: how many, and the first twenty of them."""

    kind: str
    count: int
    named: tuple[Issue, ...]

    @property
    def about(self) -> IssueKind:
        """What such a fault is, and what follows from it."""
        return ISSUE_KINDS[self.kind]


@dataclass(frozen=True)
class Pair:
    """Two images of different groups that are, or may be, one picture. `kind` as in KINDS.

    found  whether this audit's own search found it; else it was known before
    """

    kind: str
    image_a: str
    image_b: str
    group_a: str
    group_b: str
    label_a: str
    label_b: str
    evidence: str
    found: bool = True

    @property
    def standing(self) -> str:
        """Whether the pair is "frozen" (united by the roles), "missed" (known since) or "new"."""
        return {"near known": "frozen", "near missed": "missed"}.get(self.kind, "new")


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    manifest  the rows that could be used, the user's groups joined
    sizes     images by "600x450"
    pairs     pictures that stand in two groups, the sure ones first
    search    how near duplicates were searched; None where there are no images
    known     pairs that were known before
    """

    manifest: Dataset
    findings: tuple[Finding, ...]
    pairs: tuple[Pair, ...]
    files: Mapping[str, Path]
    images_read: int
    sizes: Mapping[str, int]
    search: Duplicates | None
    known: KnownPairs

    @property
    def standing(self) -> Standing:
        """How many pairs are known, found again, and new."""
        found = Counter(pair.standing for pair in self.pairs if pair.found)
        listed = {frozenset(pair) for pair in self.known.united}
        again = sum(frozenset((p.image_a, p.image_b)) in listed for p in self.pairs if p.found)
        doubtful = sum(pair.kind == "near doubtful" for pair in self.pairs)
        return Standing(
            united=len(self.known.united),
            united_found=again,
            joined_found=found["frozen"] - again,
            missed=sum(pair.standing == "missed" for pair in self.pairs),
            missed_found=found["missed"],
            new_sure=found["new"] - doubtful,
            new_doubtful=doubtful,
        )

    @property
    def failed(self) -> bool:
        """Whether something must not be ignored."""
        return any(finding.about.grave for finding in self.findings)

    @property
    def united(self) -> list[tuple[str, str]]:
        """Pairs of images whose groups belong together."""
        return [(p.image_a, p.image_b) for p in self.pairs if p.kind != "near doubtful"]


def audit(
    choice: DatasetSpec,
    know: Callable[[Dataset], KnownPairs] = lambda _: KnownPairs(),
    advance: Advance = no_progress,
    *,
    near: bool = True,
) -> Audit:
    """Audit what the user means. Raises DataError where there is no metadata at all.

    know  gives what is known of a dataset's duplicates
    near  whether to search for near duplicates, and not for copies of the same bytes alone
    """
    faults: list[Issue] = []
    manifest, folder = _read(choice, faults)
    found = look_for_images(folder, set(manifest.image_ids.tolist()))
    missing = sorted(set(manifest.image_ids.tolist()) - found.files.keys())
    faults += [Issue("no file", image_id, words) for image_id, words in found.waiting.items()]
    if found.files:
        faults += [Issue("missing", i, "") for i in missing if i not in found.waiting]
    else:
        faults.append(Issue("no images", str(folder), ""))
    if choice.folder is not None:
        faults += [Issue("unwanted", str(path), "") for path in found.unwanted]
    faults += [Issue("two files", "", words) for words in found.twice]
    count = len(found.files)
    done = iter(range(1, count + 1))
    looked = look_at_files(found.files, lambda: advance("reading", next(done), count))
    faults += [fault for one in looked for fault in one.faults]
    known = know(manifest)
    groups = _Groups(manifest, known)
    copies = _copies(looked)
    pairs = _across(copies, groups, faults)
    search = _near(manifest, looked, copies, found.files, advance) if near else None
    if search is not None:
        pairs += [groups.near(pair) for pair in _as_listed(search.pairs, copies, known)]
    pairs += groups.unseen(known.missed, pairs)
    faults += [Issue(p.kind, f"{p.image_a} and {p.image_b}", p.evidence) for p in pairs]
    return Audit(
        manifest=manifest,
        findings=_gather(faults),
        pairs=tuple(
            sorted(pairs, key=lambda p: (not ISSUE_KINDS[p.kind].grave, p.kind, p.image_a))
        ),
        files=found.files,
        images_read=len(looked),
        sizes=dict(Counter(f"{x.size[0]}x{x.size[1]}" for x in looked if x.size).most_common()),
        search=search,
        known=known,
    )


def _read(choice: DatasetSpec, faults: list[Issue]) -> tuple[Dataset, Path]:
    """The rows that can be used, and where their images lie; faults are noted."""
    if choice.folder is None or array_file(choice.folder) is not None:
        source = choice.open()
        manifest, folder = source.manifest, source.folder
        faults += check_rows(image_list_of(manifest))
    else:
        folder = choice.folder
        roster = choice.read(folder, faults.append)
        faults += check_rows(roster)
        if not roster.records:  # nothing to look at: what kept the rows away is the answer
            for fault in faults:
                raise_blocking(fault)
        manifest = usable(roster)
        if choice.groups is not None:
            manifest = with_groups(manifest, read_grouping(choice.groups))
    bare = manifest.table[["patient_id", "lesion_id", "group_id"]].isna().all(axis=1)
    faults += [Issue("ungrouped", image_id, "") for image_id in manifest.table["image_id"][bare]]
    return manifest, folder


class _Groups:
    """Who stands in which group, natively and as far as groups are known to belong together."""

    def __init__(self, manifest: Dataset, known: KnownPairs) -> None:
        self.native = dict(zip(manifest.image_ids, manifest.native_groups, strict=True))
        self.label = dict(zip(manifest.image_ids, manifest.table["label"], strict=True))
        self.group = {**self.native, **known.group_of}
        self.missed = {frozenset((pair.image_a, pair.image_b)) for pair in known.missed}

    def pair(self, kind: str, a: str, b: str, evidence: str, *, found: bool = True) -> Pair:
        """The pair with its groups and labels; what is known is called known."""
        if self.group[a] == self.group[b]:
            kind = "near known"
        elif frozenset((a, b)) in self.missed:
            kind = "near missed"
        native, label = self.native, self.label
        return Pair(kind, a, b, native[a], native[b], label[a], label[b], evidence, found)

    def unseen(self, missed: Iterable[MissedPair], pairs: Iterable[Pair]) -> list[Pair]:
        """The pairs known since that are left apart and that the search did not find."""
        seen = {frozenset((pair.image_a, pair.image_b)) for pair in pairs}
        return [
            self.pair(
                "near missed",
                one.image_a,
                one.image_b,
                f"{one.verdict or 'known'}, says {one.file}; not found by this search",
                found=False,
            )
            for one in missed
            if frozenset((one.image_a, one.image_b)) not in seen
            and self.group[one.image_a] != self.group[one.image_b]
        ]

    def near(self, found: DuplicatePair) -> Pair:
        """A pair that the search for near duplicates found."""
        sure = found.verdict == SURE
        evidence = (
            f"{found.phash_distance} of 256 bits, {found.inliers} spots, "
            f"correlation {found.correlation:.2f}"
        )
        kind = "near across" if sure else "near doubtful"
        return self.pair(kind, found.image_a, found.image_b, evidence)


def _copies(looked: Iterable[Looked]) -> dict[str, str]:
    """The first image of the same bytes, by every image whose file can be read."""
    first: dict[str, str] = {}
    return {
        one.image_id: first.setdefault(one.sha256, one.image_id) for one in looked if one.sha256
    }


def _across(copies: Mapping[str, str], groups: _Groups, faults: list[Issue]) -> list[Pair]:
    """Images of the same bytes, each with the first: faults within a group, pairs across groups."""
    pairs = []
    for b, a in copies.items():
        if a == b:
            continue
        if groups.label[a] != groups.label[b]:
            what = f"{groups.label[a]} and {groups.label[b]}"
            faults.append(Issue("copies labels", f"{a} and {b}", what))
        if groups.native[a] == groups.native[b]:
            faults.append(Issue("copies within", f"{a} and {b}", ""))
        else:
            pairs.append(groups.pair("copies across", a, b, "the same bytes"))
    return pairs


def _near(
    manifest: Dataset,
    looked: Iterable[Looked],
    copies: Mapping[str, str],
    files: Mapping[str, Path],
    advance: Advance,
) -> Duplicates | None:
    """The search for near duplicates among the files that can be read, each content once.

    Images of the same bytes are told of anyway, each with the first. Who is near one of them is
    near all, and all their pairs would be as many as the square of the images.
    """
    readable = {
        one.image_id for one in looked if one.readable and copies[one.image_id] == one.image_id
    }
    if not readable:
        return None
    table = manifest.table[manifest.table["image_id"].isin(readable)]
    return find_near_duplicates(replace(manifest, table=table), loader(files), advance)


def _as_listed(
    pairs: Iterable[DuplicatePair], copies: Mapping[str, str], known: KnownPairs
) -> list[DuplicatePair]:
    """Found pairs of contents by the names under which they are known, where they are."""
    listed = [*known.united, *((pair.image_a, pair.image_b) for pair in known.missed)]
    named = {frozenset(copies.get(each, each) for each in pair): pair for pair in listed}
    found = []
    for pair in pairs:
        a, b = named.get(frozenset((pair.image_a, pair.image_b)), (pair.image_a, pair.image_b))
        found.append(replace(pair, image_a=a, image_b=b))
    return found


def _gather(faults: Iterable[Issue]) -> tuple[Finding, ...]:
    """Findings by kind, the grave ones first, in the order of KINDS."""
    by_kind: dict[str, list[Issue]] = {}
    for fault in faults:
        by_kind.setdefault(fault.kind, []).append(fault)
    found = [
        Finding(kind, len(by_kind[kind]), tuple(by_kind[kind][:OFFENDERS_SHOWN]))
        for kind in ISSUE_KINDS
        if kind in by_kind
    ]
    return tuple(sorted(found, key=lambda finding: not finding.about.grave))


def audit_json(done: Audit) -> str:
    """An audit as JSON."""
    manifest, search = done.manifest, done.search
    content = {
        "dataset": manifest.name,
        "title": manifest.title,
        "synthetic": manifest.synthetic,
        "failed": done.failed,
        "unit": manifest.unit,
        "roster_sha256": manifest.roster_sha256,
        "rows_used": len(manifest),
        "groups": len(set(manifest.native_groups.tolist())),
        "images_read": done.images_read,
        "sizes": dict(done.sizes),
        "findings": [
            {
                "kind": finding.kind,
                "title": finding.about.title,
                "grave": finding.about.grave,
                "count": finding.count,
                "meaning": finding.about.meaning,
                "named": [{"where": fault.where, "what": fault.what} for fault in finding.named],
            }
            for finding in done.findings
        ],
        "near_duplicates": search
        and {
            "method": search.method,
            "candidates": search.candidates,
            "dropped": search.dropped,
            "within_groups": search.within,
        },
        "known_pairs": asdict(done.standing),
        "pairs": [asdict(pair) | {"standing": pair.standing} for pair in done.pairs],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
