"""Kinds of issues of a dataset, their severity and meaning.

A reader reports every issue to a `Report`. Opening a dataset uses `raise_blocking`, which raises at
the first grave issue; the audit collects all issues in a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import DataError


@dataclass(frozen=True, slots=True)
class IssueKind:
    """A kind of issue.

    title    the fault, as a heading
    grave    whether it blocks: the dataset is refused, and an audit fails
    meaning  the consequence, and how to fix it
    """

    title: str
    grave: bool
    meaning: str


ISSUE_KINDS: dict[str, IssueKind] = {
    "encoding": IssueKind(
        "Metadata that is not UTF-8",
        True,
        "Characters may be wrong. Save the file as UTF-8.",
    ),
    "nul": IssueKind(
        "NUL bytes in the metadata",
        True,
        "Some programs stop reading at a NUL byte. Download the file again, or save it as text.",
    ),
    "quoting": IssueKind(
        "Metadata with an unclosed quotation mark",
        True,
        "The text after the quotation mark was not read. Close the quotation mark.",
    ),
    "width": IssueKind(
        "Rows with another number of cells than the header",
        True,
        "Their cells may belong to other columns (pandas shifts them without a warning), so these "
        "rows were not read. Correct them, or download the file again.",
    ),
    "control": IssueKind(
        "Control characters in ids, labels, groups or categories",
        True,
        "They are invisible but make names differ. These rows were not read. Remove them.",
    ),
    "copies": IssueKind(
        "Metadata files that contradict each other", True, "Keep the correct file."
    ),
    "no id": IssueKind(
        "Rows without an image id",
        True,
        "No image belongs to them. Add the ids, or remove the rows.",
    ),
    "no label": IssueKind(
        "Images without a diagnosis",
        True,
        "They cannot be used for training or evaluation. Remove their rows from the metadata.",
    ),
    "label": IssueKind(
        "Unknown diagnoses", True, "The dataset has no such class. Correct or remove the rows."
    ),
    "age": IssueKind(
        "Impossible ages",
        True,
        "Use years from 0 to 120, or leave the cell empty.",
    ),
    "no row": IssueKind(
        "Images with a label but without a metadata row",
        False,
        "Their age, sex, site and group are unknown.",
    ),
    "extra row": IssueKind(
        "Rows of metadata without a label",
        False,
        "They were skipped: the ground truth does not list these images.",
    ),
    "twice": IssueKind("Image ids in more than one row", True, "Keep one row per image."),
    "torn lesion": IssueKind(
        "Lesions with two diagnoses",
        True,
        "One of them is wrong, or two lesions have the same id. Correct the metadata.",
    ),
    "alike": IssueKind(
        "Classes whose names differ by letter case only",
        True,
        "They count as different classes. Use one spelling.",
    ),
    "torn sex": IssueKind(
        "Patients or lesions with two sexes", False, "Two patients may have the same id."
    ),
    "torn site": IssueKind(
        "Lesions on two body sites", False, "Two lesions may have the same id, or a site is wrong."
    ),
    "age missing": IssueKind(
        "Images without an age", False, "Tables by age show them as `missing`."
    ),
    "age zero": IssueKind("Images of age 0", False, "Infants, or a code for a missing age."),
    "ungrouped": IssueKind(
        "Grouping incomplete: images without patient, lesion or group id",
        False,
        "Each image is a separate group; images of the same patient may be in train and test. "
        "Add groups with --groups FILE.",
    ),
    "no images": IssueKind("No image files", False, "Only the metadata was checked."),
    "missing": IssueKind(
        "Rows without an image file",
        True,
        "Training refuses the dataset. Add the files, or remove the rows.",
    ),
    "unwanted": IssueKind(
        "Image files without a row", False, "They are not used. Masks and thumbnails are harmless."
    ),
    "no file": IssueKind(
        "Named pipes, sockets or devices in place of images",
        True,
        "They can block a reader for ever, so they were not opened. Remove them.",
    ),
    "two files": IssueKind(
        "Image ids with two different files", True, "The correct file is unknown. Remove one."
    ),
    "unreadable": IssueKind(
        "Files that cannot be decoded completely",
        True,
        "They are truncated, damaged or not images. Download them again.",
    ),
    "bomb": IssueKind(
        "Images with too many pixels",
        True,
        "More than 100 million: refused before decoding. Reduce their size.",
    ),
    "deep": IssueKind(
        "More than 8 bits per channel",
        True,
        "The lower bits would be lost. Convert the images to 8 bits.",
    ),
    "content": IssueKind(
        "Files with another format than their suffix",
        False,
        "The bench reads them by content; other programs may fail.",
    ),
    "cmyk": IssueKind(
        "CMYK images", False, "Converted to RGB without a colour profile; colours may be inexact."
    ),
    "grey": IssueKind(
        "Grey images",
        False,
        "Read as RGB with equal channels; they have no colour information.",
    ),
    "alpha": IssueKind("Images with transparent parts", False, "Transparent parts become black."),
    "animated": IssueKind("Images of several frames", False, "Only the first frame is read."),
    "turned": IssueKind(
        "Images with an EXIF orientation", False, "They are rotated upright when they are read."
    ),
    "blank": IssueKind("Blank or nearly blank images", False, "They show no lesion."),
    "small": IssueKind(
        "Images below 64 pixels", False, "They are enlarged for training and have little detail."
    ),
    "copies within": IssueKind(
        "Identical files within one group", False, "They count as several images of the group."
    ),
    "copies across": IssueKind(
        "Identical files in different groups",
        True,
        "One may be in train and the other in test. --merge-groups FILE writes joined groups.",
    ),
    "copies labels": IssueKind(
        "Identical files with different diagnoses", True, "At least one diagnosis is wrong."
    ),
    "near across": IssueKind(
        "Near duplicates in different groups",
        True,
        "One may be in train and the other in test. --merge-groups FILE writes joined groups.",
    ),
    "near doubtful": IssueKind(
        "Possible near duplicates in different groups: please review",
        False,
        "The similarity is between the thresholds for different and for equal images.",
    ),
    "near known": IssueKind(
        "Known duplicates in different native groups, joined",
        False,
        "The roles of the protocol, or the committed list of duplicates, join these groups.",
    ),
    "near missed": IssueKind(
        "Known duplicates that frozen roles do not join",
        False,
        "They were found after the roles were frozen; frozen roles never change. A new protocol "
        "joins them: protocol freeze --as NAME.",
    ),
}


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue: its kind (a key of ISSUE_KINDS), its location and its content."""

    kind: str
    where: str
    what: str

    @property
    def grave(self) -> bool:
        """Whether the issue blocks the use of the dataset."""
        return ISSUE_KINDS[self.kind].grave


Report = Callable[[Issue], None]
"""Receives every issue."""


def raise_blocking(issue: Issue) -> None:
    """Raise DataError for a grave issue; do nothing for others."""
    if issue.grave:
        raise DataError(f"{issue.where}: {issue.what}")
