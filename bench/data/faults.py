"""What can be wrong with a dataset: kinds of faults, and who hears of them.

A reader reports every fault that it meets. Whoever wants the data hears through `refuse`, which
raises at the first fault that forbids its use; the audit hears through a list, and all go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import DataError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    title    what is wrong, for a heading
    grave    whether it must not be ignored: the data is refused, and an audit fails
    meaning  what follows from it, and how to mend it
    """

    title: str
    grave: bool
    meaning: str


KINDS: dict[str, Kind] = {
    "encoding": Kind(
        "Metadata that is not UTF-8",
        True,
        "Letters may be read as others. Save the file as UTF-8.",
    ),
    "nul": Kind(
        "NUL bytes in the metadata",
        True,
        "Some programs stop reading there. Fetch the file again, or save it anew.",
    ),
    "quoting": Kind(
        "Metadata that breaks off",
        True,
        "A quotation mark is not closed; what follows it was not read. Close it.",
    ),
    "width": Kind(
        "Rows of another width than the header",
        True,
        "Their cells may stand under the wrong headings (pandas shifts them without a word), so "
        "these rows were not read. Mend them, or fetch the file again.",
    ),
    "control": Kind(
        "Control characters in ids, labels, groups or words",
        True,
        "Nobody sees them, and a name with one is another name. These rows were not read.",
    ),
    "copies": Kind(
        "Metadata files that contradict each other", True, "Keep the one that is right."
    ),
    "no id": Kind("Rows without an image id", True, "Nothing can be joined to them."),
    "no label": Kind(
        "Images without a diagnosis",
        True,
        "They can be neither learnt nor scored. Take their rows out of the metadata.",
    ),
    "label": Kind("Unknown diagnoses", True, "No class stands for them. Correct or remove them."),
    "age": Kind(
        "Impossible ages",
        True,
        "Give years from 0 to 120, or nothing.",
    ),
    "no row": Kind(
        "Images with a label that the metadata lacks",
        False,
        "Their age, sex, site and group are unknown.",
    ),
    "extra row": Kind(
        "Rows of metadata without a label",
        False,
        "They were left out: the ground truth does not name these images.",
    ),
    "twice": Kind("Image ids that stand in more than one row", True, "Keep one row an image."),
    "torn lesion": Kind(
        "Lesions with two diagnoses",
        True,
        "One of them is wrong, or two lesions bear one id. Correct the metadata.",
    ),
    "alike": Kind(
        "Classes whose names differ by letter case only",
        True,
        "They are counted as different classes. Write them alike.",
    ),
    "torn sex": Kind(
        "Patients or lesions with two sexes", False, "One id may stand for two people."
    ),
    "torn site": Kind(
        "Lesions on two body sites", False, "One id may stand for two lesions, or a site is wrong."
    ),
    "age missing": Kind(
        "Images without an age", False, "They count as `missing` wherever ages are shown."
    ),
    "age zero": Kind(
        "Images of age 0", False, "Infants, or a way to write that the age is missing."
    ),
    "ungrouped": Kind(
        "Grouping incomplete: images without patient, lesion or group id",
        False,
        "Each counts as a group of its own; relatives may stand on the other side of a fold. "
        "--groups FILE supplies groups.",
    ),
    "no images": Kind(
        "No image files", False, "Only the metadata was looked at: nothing is known of the images."
    ),
    "missing": Kind("Rows without an image file", True, "Training would refuse the dataset."),
    "unwanted": Kind(
        "Image files without a row", False, "They are not used; masks and thumbnails are harmless."
    ),
    "no file": Kind(
        "Named pipes, sockets or devices in place of images",
        True,
        "Whoever opens one may wait for ever: they were not opened. Remove them.",
    ),
    "two files": Kind(
        "Image ids with two different files", True, "It is unclear which is meant. Remove one."
    ),
    "unreadable": Kind(
        "Files that cannot be decoded to the end",
        True,
        "Truncated, broken or no image at all, though a header may look sound. Fetch them again.",
    ),
    "bomb": Kind(
        "Images of too many pixels",
        True,
        "More than 100 million: refused before decoding. Scale them down.",
    ),
    "deep": Kind(
        "More than 8 bits a channel",
        True,
        "The lower bits would be lost. Convert them to 8 bits the way you want it.",
    ),
    "content": Kind(
        "Files whose content is not what their suffix says",
        False,
        "They are read by content. Other programs may not.",
    ),
    "cmyk": Kind(
        "CMYK images", False, "Converted to RGB without a colour profile: colours may be off."
    ),
    "grey": Kind(
        "Grey images", False, "Read as RGB with three equal channels: colour tells nothing."
    ),
    "alpha": Kind(
        "Images with transparent parts", False, "What is transparent is laid over black."
    ),
    "animated": Kind("Images of several frames", False, "Only the first frame is read."),
    "turned": Kind(
        "Images with an EXIF orientation", False, "They are turned upright as they are read."
    ),
    "blank": Kind("Blank images, or nearly so", False, "Nothing can be seen on them."),
    "small": Kind("Images below 64 pixels", False, "Enlarged for training: little is to be seen."),
    "copies within": Kind(
        "Files of one content within one group", False, "They count as several images of the group."
    ),
    "copies across": Kind(
        "Files of one content in different groups",
        True,
        "One may teach and the other test. --merge-groups FILE writes groups that unite them.",
    ),
    "copies labels": Kind(
        "Files of one content with different diagnoses", True, "At least one of them is wrong."
    ),
    "near across": Kind(
        "Nearly equal pictures in different groups",
        True,
        "One may teach and the other test. --merge-groups FILE writes groups that unite them.",
    ),
    "near doubtful": Kind(
        "Pairs to be looked at: perhaps the same picture in different groups",
        False,
        "Too little alike to be sure, too much to be silent.",
    ),
    "near known": Kind(
        "Known duplicates: pictures in different native groups that are united",
        False,
        "The protocol's roles, or the committed list of duplicates, unite them.",
    ),
    "near missed": Kind(
        "Known duplicates that frozen roles leave apart",
        False,
        "They were found after the roles were frozen, which never change. A new protocol unites "
        "them: protocol freeze --as NAME.",
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its kind (a key of KINDS), where it is, and what is there."""

    kind: str
    where: str
    what: str

    @property
    def grave(self) -> bool:
        """Whether it must not be ignored."""
        return KINDS[self.kind].grave


Report = Callable[[Fault], None]
"""Hears of every fault."""


def refuse(fault: Fault) -> None:
    """Raise DataError at a grave fault; let the others pass."""
    if fault.grave:
        raise DataError(f"{fault.where}: {fault.what}")
