"""ISIC 2020 (SIIM-ISIC) training data: metadata with real patient ids, read as a Manifest.

Rotemberg et al. 2021, doi:10.1038/s41597-021-00815-z. Kaggle serves `train.csv`, ISIC the same as
`ISIC_2020_Training_GroundTruth.csv`; columns image_name, patient_id, sex, age_approx,
anatom_site_general_challenge, diagnosis, benign_malignant, target. The diagnosis of four in five
images is unknown, so the classes are benign and malignant, which are all melanomas. No image is
needed to read it.
"""

from __future__ import annotations

from pathlib import Path

from bench.data.ham10000 import Line, find_files, manifest_of, read_lines, read_text
from bench.errors import DataError, listing
from bench.manifest import Manifest, Record

CLASSES = ("benign", "malignant")
LICENCE = "CC BY-NC 4.0"
CITATION = (
    "Rotemberg, V. et al. A patient-centric dataset of images and metadata for identifying "
    "melanomas using clinical context. Sci. Data 8, 34 (2021). doi:10.1038/s41597-021-00815-z"
)
FILE_NAMES = (
    "ISIC2020_train.csv",
    "ISIC_2020_Training_GroundTruth_v2.csv",
    "ISIC_2020_Training_GroundTruth.csv",
    "train.csv",
)
NEEDED = ("image_name", "patient_id", "benign_malignant")


def find_isic2020(folder: Path) -> Path | None:
    """The nearest file in or below `folder` that is named as ISIC 2020's metadata is, if any."""
    return next(iter(find_files(folder, FILE_NAMES)), None)


def read_isic2020(path: Path) -> Manifest:
    """The manifest of a metadata file. Raises DataError that names the file, line or column."""
    return parse_isic2020(read_text(path), str(path))


def parse_isic2020(text: str, where: str) -> Manifest:
    """Read the text of a metadata file; `where` is for messages."""
    records = [_record(line) for line in read_lines(text, where, _header)]
    return manifest_of(
        records,
        where,
        name="isic2020",
        title="ISIC 2020",
        classes=CLASSES,
        licence=LICENCE,
        citation=CITATION,
    )


def _record(line: Line) -> Record:
    image_id = line.identifier("image_name")
    if image_id is None:
        raise DataError(f"{line.where}: image_name is empty; every row needs one")
    return Record(
        image_id=image_id,
        label=line.cells["benign_malignant"].lower(),
        patient_id=line.identifier("patient_id"),
        lesion_id=line.identifier("lesion_id"),
        age=line.age("age_approx"),
        sex=line.word("sex"),
        localization=line.word("anatom_site_general_challenge"),
    )


def _header(cells: list[str], where: str) -> list[str]:
    header = [cell.lower() for cell in cells]
    missing = [column for column in NEEDED if column not in header]
    if missing:
        raise DataError(
            f"{where}: missing columns: {listing(missing)}; the header has {listing(header)}"
        )
    return header
