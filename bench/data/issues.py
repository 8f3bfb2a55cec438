"""Kinds of issues of a dataset, their severity and meaning.

A reader reports every fault that it meets. Whoever wants the data hears through `refuse`, which
raises at the first fault that forbids its use; the audit hears through a list, and all go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import DataError


@dataclass(frozen=True, slots=True)
class IssueKind:
    """A kind of fault.

    title    what is wrong, for a heading
    grave    whether it must not be ignored: the data is refused, and an audit fails
    meaning  what follows from it, and how to mend it
    """

    title: str
    grave: bool
    meaning: str


ISSUE_KINDS: dict[str, IssueKind] = {
    "encoding": IssueKind(
        "Metadata that is not UTF-8",
        True,
        "Letters may be read as others. Save the file as UTF-8.",
    ),
    "nul": IssueKind(
        "NUL bytes in the metadata",
        True,
        "Some programs stop reading there. Fetch the file again, or save it anew.",
    ),
    "quoting": IssueKind(
        "Metadata that breaks off",
        True,
        "A quotation mark is not closed; what follows it was not read. Close it.",
    ),
    "width": IssueKind(
        "Rows of another width than the header",
        True,
        "Their cells may stand under the wrong headings (pandas shifts them without a word), so "
        "these rows were not read. Mend them, or fetch the file again.",
    ),
    "control": IssueKind(
        "Control characters in ids, labels, groups or words",
        True,
        "Nobody sees them, and a name with one is another name. These rows were not read.",
    ),
    "copies": IssueKind(
        "Metadata files that contradict each other", True, "Keep the one that is right."
    ),
    "no id": IssueKind("Rows without an image id", True, "Nothing can be joined to them."),
    "no label": IssueKind(
        "Images without a diagnosis",
        True,
        "They can be neither learnt nor scored. Take their rows out of the metadata.",
    ),
    "label": IssueKind(
        "Unknown diagnoses", True, "No class stands for them. Correct or remove them."
    ),
    "age": IssueKind(
        "Impossible ages",
        True,
        "Give years from 0 to 120, or nothing.",
    ),
    "no row": IssueKind(
        "Images with a label that the metadata lacks",
        False,
        "Their age, sex, site and group are unknown.",
    ),
    "extra row": IssueKind(
        "Rows of metadata without a label",
        False,
        "They were left out: the ground truth does not name these images.",
    ),
    "twice": IssueKind("Image ids that stand in more than one row", True, "Keep one row an image."),
    "torn lesion": IssueKind(
        "Lesions with two diagnoses",
        True,
        "One of them is wrong, or two lesions bear one id. Correct the metadata.",
    ),
    "alike": IssueKind(
        "Classes whose names differ by letter case only",
        True,
        "They are counted as different classes. Write them alike.",
    ),
    "torn sex": IssueKind(
        "Patients or lesions with two sexes", False, "One id may stand for two people."
    ),
    "torn site": IssueKind(
        "Lesions on two body sites", False, "One id may stand for two lesions, or a site is wrong."
    ),
    "age missing": IssueKind(
        "Images without an age", False, "They count as `missing` wherever ages are shown."
    ),
    "age zero": IssueKind(
        "Images of age 0", False, "Infants, or a way to write that the age is missing."
    ),
    "ungrouped": IssueKind(
        "Grouping incomplete: images without patient, lesion or group id",
        False,
        "Each counts as a group of its own; relatives may stand on the other side of a fold. "
        "--groups FILE supplies groups.",
    ),
    "no images": IssueKind(
        "No image files", False, "Only the metadata was looked at: nothing is known of the images."
    ),
    "missing": IssueKind("Rows without an image file", True, "Training would refuse the dataset."),
    "unwanted": IssueKind(
        "Image files without a row", False, "They are not used; masks and thumbnails are harmless."
    ),
    "no file": IssueKind(
        "Named pipes, sockets or devices in place of images",
        True,
        "Whoever opens one may wait for ever: they were not opened. Remove them.",
    ),
    "two files": IssueKind(
        "Image ids with two different files", True, "It is unclear which is meant. Remove one."
    ),
    "unreadable": IssueKind(
        "Files that cannot be decoded to the end",
        True,
        "Truncated, broken or no image at all, though a header may look sound. Fetch them again.",
    ),
    "bomb": IssueKind(
        "Images of too many pixels",
        True,
        "More than 100 million: refused before decoding. Scale them down.",
    ),
    "deep": IssueKind(
        "More than 8 bits a channel",
        True,
        "The lower bits would be lost. Convert them to 8 bits the way you want it.",
    ),
    "content": IssueKind(
        "Files whose content is not what their suffix says",
        False,
        "They are read by content. Other programs may not.",
    ),
    "cmyk": IssueKind(
        "CMYK images", False, "Converted to RGB without a colour profile: colours may be off."
    ),
    "grey": IssueKind(
        "Grey images", False, "Read as RGB with three equal channels: colour tells nothing."
    ),
    "alpha": IssueKind(
        "Images with transparent parts", False, "What is transparent is laid over black."
    ),
    "animated": IssueKind("Images of several frames", False, "Only the first frame is read."),
    "turned": IssueKind(
        "Images with an EXIF orientation", False, "They are turned upright as they are read."
    ),
    "blank": IssueKind("Blank images, or nearly so", False, "Nothing can be seen on them."),
    "small": IssueKind(
        "Images below 64 pixels", False, "Enlarged for training: little is to be seen."
    ),
    "copies within": IssueKind(
        "Files of one content within one group", False, "They count as several images of the group."
    ),
    "copies across": IssueKind(
        "Files of one content in different groups",
        True,
        "One may teach and the other test. --merge-groups FILE writes groups that unite them.",
    ),
    "copies labels": IssueKind(
        "Files of one content with different diagnoses", True, "At least one of them is wrong."
    ),
    "near across": IssueKind(
        "Nearly equal pictures in different groups",
        True,
        "One may teach and the other test. --merge-groups FILE writes groups that unite them.",
    ),
    "near doubtful": IssueKind(
        "Pairs to be looked at: perhaps the same picture in different groups",
        False,
        "Too little alike to be sure, too much to be silent.",
    ),
    "near known": IssueKind(
        "Known duplicates: pictures in different native groups that are united",
        False,
        "The protocol's roles, or the committed list of duplicates, unite them.",
    ),
    "near missed": IssueKind(
        "Known duplicates that frozen roles leave apart",
        False,
        "They were found after the roles were frozen, which never change. A new protocol unites "
        "them: protocol freeze --as NAME.",
    ),
}


@dataclass(frozen=True, slots=True)
class Issue:
    """One fault: its kind (a key of KINDS), where it is, and what is there."""

    kind: str
    where: str
    what: str

    @property
    def grave(self) -> bool:
        """Whether it must not be ignored."""
        return ISSUE_KINDS[self.kind].grave


Report = Callable[[Issue], None]
"""Hears of every fault."""


def raise_blocking(fault: Issue) -> None:
    """Raise DataError at a grave fault; let the others pass."""
    if fault.grave:
        raise DataError(f"{fault.where}: {fault.what}")
