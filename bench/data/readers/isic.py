"""Readers of the ISIC challenges of 2018, 2019 and 2020, and of exports of the ISIC Archive.

2018, task 3   ground truth with one column per class (`AKIEC`), lesion groupings in a second file.
               Its training part is HAM10000; with the groupings the image list is the same.
2019           ground truth with one column per class (`AK`, `SCC`), metadata in a second file;
               `lesion_id` is empty in 2,084 rows. Contains HAM10000.
2020           one file with patient ids. Four in five of its diagnoses are `unknown`, and the
               challenge has two classes, so its classes are `benign` and `malignant` (all
               melanomas); `--columns label=diagnosis` uses the diagnoses instead.
archive        `isic_id` and one or more columns of diagnoses; the user selects one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.data.issues import Issue, Report
from bench.data.readers import ham10000
from bench.data.readers.base import (
    FIELDS,
    ImageList,
    Reader,
    TableFile,
    columns_of,
    control_fault,
    metadata_fields,
    need_columns,
    read_records,
)
from bench.dataset import Record
from bench.errors import DataError, listing

CLASSES_2019 = ("ak", "bcc", "bkl", "df", "mel", "nv", "scc", "vasc")
MALIGNANT_2019 = ("ak", "bcc", "mel", "scc")
CLASSES_2020 = ("benign", "malignant")
UNKNOWN = "unk"
TARGETS = {"0": "benign", "1": "malignant", "0.0": "benign", "1.0": "malignant"}
ONE_HOT = frozenset({*ham10000.CLASSES, *CLASSES_2019, UNKNOWN})
SOURCES_2019 = {"HAM": "ham10000", "BCN": "bcn20000", "MSK": "msk"}
"""Collections by the prefix of the lesion ids of 2019."""
LICENCE = "CC BY-NC 4.0"
CITATION_2018 = (
    "Codella, N. et al. Skin lesion analysis toward melanoma detection 2018: a challenge hosted by "
    "the International Skin Imaging Collaboration (ISIC). arXiv:1902.03368 (2019). "
    f"{ham10000.CITATION}"
)
CITATION_2019 = (
    f"{ham10000.CITATION} Codella, N. et al. arXiv:1710.05006 (2017). Hernández-Pérez, C. et al. "
    "BCN20000: dermoscopic lesions in the wild. Sci. Data 11, 641 (2024). "
    "doi:10.1038/s41597-024-03387-w"
)
CITATION_2020 = (
    "Rotemberg, V. et al. A patient-centric dataset of images and metadata for identifying "
    "melanomas using clinical context. Sci. Data 8, 34 (2021). doi:10.1038/s41597-021-00815-z"
)
DIAGNOSES = ("diagnosis", "benign_malignant", "target")


def is_truth(table: TableFile) -> bool:
    """Whether a table is a ground truth with one column per class."""
    return table.has("mel", "nv") and any(name in table.columns for name in FIELDS["image_id"])


def _fits_one_hot(tables: Sequence[TableFile], *marks: str) -> tuple[TableFile, ...]:
    """The ground truth with the columns `marks` of a year, and the tables of its metadata.

    Training files are preferred to those for validation and test.
    """
    truths = _training([table for table in tables if is_truth(table)])
    if not any(table.has(*marks) for table in truths):
        return ()
    metadata = [
        table
        for table in tables
        if not is_truth(table)
        and not table.has("dx")
        and table.has("image")
        and any(name in columns_of(table.columns) for name in ("lesion_id", "age", "dx_type"))
    ]
    return (*truths, *_training(metadata))


def _training(tables: list[TableFile]) -> list[TableFile]:
    return [table for table in tables if "train" in table.name] or tables


def _read_one_hot(tables: Sequence[TableFile], report: Report) -> tuple[str, tuple[Record, ...]]:
    """Path of the ground truth, and its records with the fields of the metadata tables."""
    truths = [table for table in tables if is_truth(table)]
    if len(truths) > 1:
        paths = [table.path for table in truths]
        raise DataError(f"several ground truths: {listing(paths)}; keep one")
    truth = truths[0]
    pairs = list(_labels(truth, report))
    known = {image_id for image_id, _ in pairs}
    facts: dict[str, dict[str, Any]] = {}
    extra = []
    for table in tables[1:]:
        columns = columns_of(table.columns)
        for line in table.lines(report):
            cells = {field: line.cells[column] for field, column in columns.items()}
            image_id = cells.pop("image_id")
            hidden = control_fault(line, columns.values())
            if hidden:
                report(hidden)
            elif image_id in known:
                facts.setdefault(image_id, {}).update(metadata_fields(cells, line.where, report))
            else:
                extra.append(image_id)
    where = str(truth.path)
    without = sorted(known - facts.keys()) if facts else []
    for kind, offenders in (("no row", without), ("extra row", extra)):
        for offender in offenders:
            report(Issue(kind, where, offender))
    records = (Record(image_id, label, **facts.get(image_id, {})) for image_id, label in pairs)
    return where, tuple(records)


def _labels(table: TableFile, report: Report) -> Iterator[tuple[str, str]]:
    """Image id and class of every row with exactly one class."""
    classes = [column for column in table.columns if column in ONE_HOT]
    id_column = columns_of(table.columns)["image_id"]
    for line in table.lines(report):
        image_id = line.cells[id_column]
        chosen = [name for name in classes if line.cells[name] in {"1", "1.0"}]
        invalid = [n for n in classes if line.cells[n] not in {"0", "0.0", "1", "1.0"}]
        hidden = control_fault(line, [id_column])
        if hidden:
            report(hidden)
        elif not image_id:
            report(Issue("no id", line.where, "the image id is empty; every row needs one"))
        elif invalid or len(chosen) != 1:
            cells = ", ".join(f"{name} {line.cells[name]!r}" for name in invalid or chosen)
            what = f"{image_id} needs 1 in one class and 0 in the others: {cells or 'no 1'}"
            report(Issue("label", line.where, what))
        else:
            yield image_id, chosen[0]


def _fits_2018(tables: Sequence[TableFile], _columns: Mapping[str, str]) -> tuple[TableFile, ...]:
    return _fits_one_hot(tables, "akiec")


def _read_2018(
    tables: Sequence[TableFile], _columns: Mapping[str, str], report: Report
) -> ImageList:
    where, records = _read_one_hot(tables, report)
    images = replace(
        ham10000.ham10000(records, where), citation=CITATION_2018, title="ISIC 2018 task 3"
    )
    # with its groupings the image list is that of HAM10000, so its frozen roles are valid
    grouped = any(record.lesion_id for record in records)
    return images if grouped else replace(images, name="isic2018")


def _fits_2019(tables: Sequence[TableFile], _columns: Mapping[str, str]) -> tuple[TableFile, ...]:
    return _fits_one_hot(tables, "ak", "scc")


def _read_2019(
    tables: Sequence[TableFile], _columns: Mapping[str, str], report: Report
) -> ImageList:
    where, records = _read_one_hot(tables, report)
    records = tuple(replace(r, source=SOURCES_2019.get((r.lesion_id or "")[:3])) for r in records)
    unknown = any(record.label == UNKNOWN for record in records)
    return ImageList(
        name="isic2019",
        title="ISIC 2019",
        classes=(*CLASSES_2019, UNKNOWN) if unknown else CLASSES_2019,
        records=records,
        where=where,
        licence=LICENCE,
        citation=CITATION_2019,
        malignant=MALIGNANT_2019,
    )


def _fits_2020(tables: Sequence[TableFile], _columns: Mapping[str, str]) -> tuple[TableFile, ...]:
    named = [s for s in tables if s.has("image_name", "patient_id")]
    return tuple(_training([s for s in named if s.has("benign_malignant") or s.has("target")]))


def _read_2020(
    tables: Sequence[TableFile], columns: Mapping[str, str], report: Report
) -> ImageList:
    table = _only(tables)
    default = "benign_malignant" if table.has("benign_malignant") else "target"
    label = columns.get("label", default)
    need_columns(table, label)
    found = columns_of(table.columns) | dict(columns) | {"label": label}
    records = tuple(read_records(table.lines(report), found, report))
    images = ImageList(
        name="isic2020",
        title="ISIC 2020",
        classes=CLASSES_2020,
        records=tuple(replace(r, label=TARGETS.get(r.label, r.label)) for r in records),
        where=str(table.path),
        licence=LICENCE,
        citation=CITATION_2020,
        malignant=("malignant",),
    )
    if label in {"benign_malignant", "target"}:
        return images
    return replace(images, name=f"isic2020-{slug(label)}").classes_found()


def _fits_archive(
    tables: Sequence[TableFile], _columns: Mapping[str, str]
) -> tuple[TableFile, ...]:
    return tuple(table for table in tables if table.has("isic_id") and not is_truth(table))


def _read_archive(
    tables: Sequence[TableFile], columns: Mapping[str, str], report: Report
) -> ImageList:
    table = _only(tables)
    label = columns.get("label") or _only_diagnosis(table)
    need_columns(table, label)
    found = columns_of(table.columns) | dict(columns) | {"label": label}
    records = tuple(read_records(table.lines(report), found, report))
    return ImageList(
        name="",
        title=f"ISIC Archive export {table.path.parent.name}",
        classes=(),
        records=tuple(
            replace(r, label=TARGETS.get(r.label, r.label)) if label == "target" else r
            for r in records
        ),
        where=str(table.path),
        licence="as each image's copyright_license says",
        citation="ISIC Archive, https://www.isic-archive.com",
    ).classes_found()


def _only_diagnosis(table: TableFile) -> str:
    """The only column of diagnoses. Raises DataError if there are several, or none."""
    found = [c for c in table.columns if c in DIAGNOSES or c.startswith("diagnosis_")]
    found = [column for column in found if column != "diagnosis_confirm_type"]
    if len(found) != 1:
        fault = f"several columns of diagnoses: {listing(found)}" if found else "no diagnoses"
        raise DataError(f"{table.path}: {fault}; select one: --columns label=COLUMN")
    return found[0]


def _only(tables: Sequence[TableFile]) -> TableFile:
    if len(tables) > 1:
        paths = [table.path for table in tables]
        raise DataError(f"several files of metadata: {listing(paths)}; keep one")
    return tables[0]


def slug(text: str) -> str:
    """A text as a short name: lower-case letters, digits and hyphens."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


READERS = (
    Reader("isic2018", "ISIC2018_Task3_Training_GroundTruth.csv", _fits_2018, _read_2018),
    Reader("isic2019", "ISIC_2019_Training_GroundTruth.csv", _fits_2019, _read_2019),
    Reader("isic2020", "ISIC_2020_Training_GroundTruth.csv", _fits_2020, _read_2020),
    Reader("archive", "an ISIC Archive export (isic_id, diagnosis)", _fits_archive, _read_archive),
)
