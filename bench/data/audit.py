"""Audit of a dataset: metadata, image files and duplicates across groups.

Frozen roles join the duplicates that were known when they were drawn, and never change. Duplicates
found later are in a separate list of missed pairs: known, but not joined.
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
from bench.data.image_checks import ImageCheck, check_images
from bench.data.images import loader, look_for_images
from bench.data.issues import ISSUE_KINDS, Issue, IssueKind, raise_blocking
from bench.data.open import DatasetSpec, array_file, read_grouping, with_groups
from bench.data.readers.base import ImageList, image_list_of
from bench.dataset import Dataset, Record
from bench.errors import OFFENDERS_SHOWN, listing

SHOWN = 6


def check_rows(images: ImageList) -> Iterator[Issue]:
    """All issues in the rows of an image list."""
    table = images.table()
    ids = Counter(table["image_id"])
    for image_id, times in ids.items():
        if times > 1:
            yield Issue("twice", image_id, f"{times} rows")
    known = set(images.classes)
    for record in images.records:
        if record.label not in known:
            yield Issue("label", record.image_id, repr(record.label))
    yield from _similar_labels(sorted(set(table["label"])))
    yield from _conflicts(table, "torn lesion", "lesion_id", "label")
    yield from _conflicts(table, "torn site", "lesion_id", "localization")
    for column in ("patient_id", "lesion_id"):
        yield from _conflicts(table, "torn sex", column, "sex")
    yield from (Issue("age missing", i, "") for i in table["image_id"][table["age"].isna()])
    yield from (Issue("age zero", i, "") for i in table["image_id"][table["age"] == 0])


def _similar_labels(labels: list[str]) -> Iterator[Issue]:
    by_letters: dict[str, list[str]] = {}
    for label in labels:
        by_letters.setdefault(label.casefold(), []).append(label)
    for several in by_letters.values():
        if len(several) > 1:
            yield Issue("alike", several[0], listing(several))


def _conflicts(table: pd.DataFrame, kind: str, owner: str, column: str) -> Iterator[Issue]:
    """Lesions or patients whose images differ in a column."""
    known = table.dropna(subset=[owner, column])
    counts = known.groupby(owner)[column].nunique()
    conflicting = known[known[owner].isin(counts.index[counts > 1])]
    for name, rows in conflicting.groupby(owner, sort=True):
        values = sorted(set(rows[column]))
        where = f"{owner.removesuffix('_id')} {name}"
        images = listing(rows["image_id"].tolist(), SHOWN)
        yield Issue(kind, where, f"{', '.join(values)} ({images})")


def usable(images: ImageList) -> Dataset:
    """A valid dataset made from a faulty image list, so that its image files can be checked.

    Keeps the first row of each image id, makes every label a class, and turns lesions with two
    diagnoses into groups. Raises DataError if no row is left.
    """
    table = images.table()
    label_counts = table.dropna(subset=["lesion_id"]).groupby("lesion_id")["label"].nunique()
    torn = set(label_counts.index[label_counts > 1])
    kept: dict[str, Record] = {}
    for record in images.records:
        fixed = record
        if record.lesion_id in torn:
            group = record.group_id or record.patient_id or record.lesion_id
            fixed = replace(record, group_id=group, lesion_id=None)
        kept.setdefault(record.image_id, fixed)
    labels = sorted({record.label for record in images.records} | set(images.classes))
    return replace(images, records=tuple(kept.values()), classes=tuple(labels)).dataset()


@dataclass(frozen=True, slots=True)
class MissedPair:
    """Two images of one lesion that frozen roles do not join, with verdict and source file."""

    image_a: str
    image_b: str
    verdict: str
    file: str


@dataclass(frozen=True)
class KnownPairs:
    """Known pairs of images that show one lesion but are in two native groups.

    group_of  group of each image after joins by the roles or by the committed list
    united    listed pairs that are in one group
    missed    pairs found after the roles were frozen
    """

    group_of: Mapping[str, str] = field(default_factory=dict)
    united: frozenset[tuple[str, str]] = frozenset()
    missed: tuple[MissedPair, ...] = ()


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Numbers of pairs across native groups: known, found again, and new.

    joined_found  found pairs in one joined group that are in no list
    """

    united: int
    united_found: int
    joined_found: int
    missed: int
    missed_found: int
    new_sure: int
    new_doubtful: int

    @property
    def text(self) -> str:
        """The counts as a sentence."""
        joined = f" and {self.joined_found} more in the same groups" if self.joined_found else ""
        return (
            f"{self.united} known pairs are joined, {self.united_found} of them{joined} found "
            f"again; {self.missed} known pairs are not joined by the frozen roles, "
            f"{self.missed_found} of them found again; new: {self.new_sure} sure pairs and "
            f"{self.new_doubtful} pairs to review"
        )


Advance = Callable[[str, int, int], object]
"""Receives the progress: name of the stage, items done, items in total."""


@dataclass(frozen=True)
class Finding:
    """All issues of one kind: their number, and the first twenty."""

    kind: str
    count: int
    named: tuple[Issue, ...]

    @property
    def about(self) -> IssueKind:
        """The kind: title, severity and meaning."""
        return ISSUE_KINDS[self.kind]


@dataclass(frozen=True)
class Pair:
    """Two images of different groups that are, or may be, duplicates; `kind` as in ISSUE_KINDS.

    found  whether the search of this audit found the pair; otherwise it was known before
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
        """Status of the pair: "frozen" (joined by the roles), "missed" (known later) or "new"."""
        return {"near known": "frozen", "near missed": "missed"}.get(self.kind, "new")


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    manifest  the usable rows, with the user's groups
    sizes     number of images by "600x450"
    pairs     duplicates across groups, blocking ones first
    search    the search for near duplicates; None without images
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
    def standing(self) -> PairCounts:
        """Numbers of pairs that are known, found again, and new."""
        found = Counter(pair.standing for pair in self.pairs if pair.found)
        listed = {frozenset(pair) for pair in self.known.united}
        again = sum(frozenset((p.image_a, p.image_b)) in listed for p in self.pairs if p.found)
        doubtful = sum(pair.kind == "near doubtful" for pair in self.pairs)
        return PairCounts(
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
        """Whether there is a blocking issue."""
        return any(finding.about.grave for finding in self.findings)

    @property
    def united(self) -> list[tuple[str, str]]:
        """Pairs of images whose groups must be joined."""
        return [(p.image_a, p.image_b) for p in self.pairs if p.kind != "near doubtful"]


def audit(
    choice: DatasetSpec,
    know: Callable[[Dataset], KnownPairs] = lambda _: KnownPairs(),
    advance: Advance = no_progress,
    *,
    near: bool = True,
) -> Audit:
    """Audit a dataset. Raises DataError if no metadata can be read.

    know  returns the known duplicates of a dataset
    near  whether to search for near duplicates, not only for identical files
    """
    issues: list[Issue] = []
    dataset, folder = _read(choice, issues)
    found = look_for_images(folder, set(dataset.image_ids.tolist()))
    missing = sorted(set(dataset.image_ids.tolist()) - found.files.keys())
    issues += [Issue("no file", image_id, words) for image_id, words in found.waiting.items()]
    if found.files:
        issues += [Issue("missing", i, "") for i in missing if i not in found.waiting]
    else:
        issues.append(Issue("no images", str(folder), ""))
    if choice.folder is not None:
        issues += [Issue("unwanted", str(path), "") for path in found.unwanted]
    issues += [Issue("two files", "", words) for words in found.twice]
    count = len(found.files)
    done = iter(range(1, count + 1))
    checks = check_images(found.files, lambda: advance("reading", next(done), count))
    issues += [issue for check in checks for issue in check.issues]
    known = know(dataset)
    groups = _Groups(dataset, known)
    copies = _copies(checks)
    pairs = _identical_files(copies, groups, issues)
    search = _near_duplicates(dataset, checks, copies, found.files, advance) if near else None
    if search is not None:
        pairs += [groups.near(pair) for pair in _with_known_ids(search.pairs, copies, known)]
    pairs += groups.not_found(known.missed, pairs)
    issues += [Issue(p.kind, f"{p.image_a} and {p.image_b}", p.evidence) for p in pairs]
    return Audit(
        manifest=dataset,
        findings=_by_kind(issues),
        pairs=tuple(
            sorted(pairs, key=lambda p: (not ISSUE_KINDS[p.kind].grave, p.kind, p.image_a))
        ),
        files=found.files,
        images_read=len(checks),
        sizes=dict(Counter(f"{x.size[0]}x{x.size[1]}" for x in checks if x.size).most_common()),
        search=search,
        known=known,
    )


def _read(choice: DatasetSpec, issues: list[Issue]) -> tuple[Dataset, Path]:
    """The usable rows and the folder of the images; adds the issues of the metadata."""
    if choice.folder is None or array_file(choice.folder) is not None:
        source = choice.open()
        dataset, folder = source.manifest, source.folder
        issues += check_rows(image_list_of(dataset))
    else:
        folder = choice.folder
        images = choice.read(folder, issues.append)
        issues += check_rows(images)
        if not images.records:  # raise the issue that caused this
            for issue in issues:
                raise_blocking(issue)
        dataset = usable(images)
        if choice.groups is not None:
            dataset = with_groups(dataset, read_grouping(choice.groups))
    ungrouped = dataset.table[["patient_id", "lesion_id", "group_id"]].isna().all(axis=1)
    issues += [
        Issue("ungrouped", image_id, "") for image_id in dataset.table["image_id"][ungrouped]
    ]
    return dataset, folder


class _Groups:
    """Groups and labels of the images: native groups, and groups after known joins."""

    def __init__(self, dataset: Dataset, known: KnownPairs) -> None:
        self.native = dict(zip(dataset.image_ids, dataset.native_groups, strict=True))
        self.label = dict(zip(dataset.image_ids, dataset.table["label"], strict=True))
        self.group = {**self.native, **known.group_of}
        self.missed = {frozenset((pair.image_a, pair.image_b)) for pair in known.missed}

    def pair(self, kind: str, a: str, b: str, evidence: str, *, found: bool = True) -> Pair:
        """The pair with its groups and labels; known pairs get a kind for known pairs."""
        if self.group[a] == self.group[b]:
            kind = "near known"
        elif frozenset((a, b)) in self.missed:
            kind = "near missed"
        native, label = self.native, self.label
        return Pair(kind, a, b, native[a], native[b], label[a], label[b], evidence, found)

    def not_found(self, missed: Iterable[MissedPair], pairs: Iterable[Pair]) -> list[Pair]:
        """The missed pairs in different groups that the search did not find."""
        found = {frozenset((pair.image_a, pair.image_b)) for pair in pairs}
        return [
            self.pair(
                "near missed",
                pair.image_a,
                pair.image_b,
                f"{pair.verdict or 'known'} ({pair.file}); not found by this search",
                found=False,
            )
            for pair in missed
            if frozenset((pair.image_a, pair.image_b)) not in found
            and self.group[pair.image_a] != self.group[pair.image_b]
        ]

    def near(self, pair: DuplicatePair) -> Pair:
        """A pair of the search for near duplicates."""
        sure = pair.verdict == SURE
        evidence = (
            f"{pair.phash_distance} of 256 bits, {pair.inliers} keypoints, "
            f"correlation {pair.correlation:.2f}"
        )
        kind = "near across" if sure else "near doubtful"
        return self.pair(kind, pair.image_a, pair.image_b, evidence)


def _copies(checks: Iterable[ImageCheck]) -> dict[str, str]:
    """For every readable image file, the first image with the same bytes."""
    first: dict[str, str] = {}
    return {
        check.image_id: first.setdefault(check.sha256, check.image_id)
        for check in checks
        if check.sha256
    }


def _identical_files(copies: Mapping[str, str], groups: _Groups, issues: list[Issue]) -> list[Pair]:
    """Pairs of identical files across groups; adds issues for those within a group."""
    pairs = []
    for b, a in copies.items():
        if a == b:
            continue
        if groups.label[a] != groups.label[b]:
            what = f"{groups.label[a]} and {groups.label[b]}"
            issues.append(Issue("copies labels", f"{a} and {b}", what))
        if groups.native[a] == groups.native[b]:
            issues.append(Issue("copies within", f"{a} and {b}", ""))
        else:
            pairs.append(groups.pair("copies across", a, b, "identical files"))
    return pairs


def _near_duplicates(
    dataset: Dataset,
    checks: Iterable[ImageCheck],
    copies: Mapping[str, str],
    files: Mapping[str, Path],
    advance: Advance,
) -> Duplicates | None:
    """Search near duplicates among the readable files, one of each set of identical files.

    Identical files are reported anyway; with all of them, the number of pairs would be quadratic.
    """
    readable = {
        check.image_id
        for check in checks
        if check.readable and copies[check.image_id] == check.image_id
    }
    if not readable:
        return None
    table = dataset.table[dataset.table["image_id"].isin(readable)]
    return find_near_duplicates(replace(dataset, table=table), loader(files), advance)


def _with_known_ids(
    pairs: Iterable[DuplicatePair], copies: Mapping[str, str], known: KnownPairs
) -> list[DuplicatePair]:
    """The found pairs; for identical files, with the image ids of a known pair."""
    listed = [*known.united, *((pair.image_a, pair.image_b) for pair in known.missed)]
    known_ids = {frozenset(copies.get(each, each) for each in pair): pair for pair in listed}
    renamed = []
    for pair in pairs:
        ids = pair.image_a, pair.image_b
        a, b = known_ids.get(frozenset(ids), ids)
        renamed.append(replace(pair, image_a=a, image_b=b))
    return renamed


def _by_kind(issues: Iterable[Issue]) -> tuple[Finding, ...]:
    """Findings by kind: blocking ones first, in the order of ISSUE_KINDS."""
    by_kind: dict[str, list[Issue]] = {}
    for issue in issues:
        by_kind.setdefault(issue.kind, []).append(issue)
    findings = [
        Finding(kind, len(by_kind[kind]), tuple(by_kind[kind][:OFFENDERS_SHOWN]))
        for kind in ISSUE_KINDS
        if kind in by_kind
    ]
    return tuple(sorted(findings, key=lambda finding: not finding.about.grave))


def audit_json(done: Audit) -> str:
    """An audit as JSON."""
    dataset, search = done.manifest, done.search
    content = {
        "dataset": dataset.name,
        "title": dataset.title,
        "synthetic": dataset.synthetic,
        "failed": done.failed,
        "unit": dataset.unit,
        "roster_sha256": dataset.roster_sha256,
        "rows_used": len(dataset),
        "groups": len(set(dataset.native_groups.tolist())),
        "images_read": done.images_read,
        "sizes": dict(done.sizes),
        "findings": [
            {
                "kind": finding.kind,
                "title": finding.about.title,
                "grave": finding.about.grave,
                "count": finding.count,
                "meaning": finding.about.meaning,
                "named": [{"where": issue.where, "what": issue.what} for issue in finding.named],
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
