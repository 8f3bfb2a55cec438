"""Files of frozen roles and lists of known duplicates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data.audit import MissedPair
from bench.data.issues import raise_blocking
from bench.data.readers.base import control_fault, read_lines, read_text
from bench.errors import ProtocolError, RolesError
from bench.settings import PROTOCOLS

ARCHIVE = "ISIC_"
"""What the image ids of the ISIC Archive begin with."""


def with_roles(
    text: str, dataset: str, file: str, sha256: str, absent: Mapping[str, Sequence[str]]
) -> str:
    """A protocol's TOML with the roles of one more dataset, and the classes its parts lack."""
    section = f'[roles.{dataset}]\nfile = "{file}"\nsha256 = "{sha256}"\n'
    entries = [
        f'"{place}" = [{", ".join(json.dumps(name) for name in names)}]'
        for place, names in absent.items()
    ]
    if entries:
        section += f"absent = {{ {', '.join(entries)} }}\n"
    return f"{text.rstrip()}\n\n{section}"


def renamed(text: str, name: str, folds: int | None = None, dealer: str | None = None) -> str:
    """A protocol's TOML under another name, without the roles of the old one.

    With another number of folds or another dealer, where one is given.

    Raises ProtocolError for another number of folds where the fold columns are named in `arms`.
    """
    sections = re.split(r"(?m)^(?=\[)", text)
    kept = "".join(section for section in sections if not section.startswith("[roles."))
    made = re.sub(r'(?m)^name = ".*"', f'name = "{name}"', kept, count=1)
    if dealer is not None:
        made = re.sub(r"(?m)^dealer = .*\n", "", made)
        made = re.sub(r"(?m)^(kind = .*\n)", rf'\1dealer = "{dealer}"\n', made, count=1)
    if folds is None:
        return made
    if re.search(r"(?m)^\[split\.arms\]|^arms = ", made):
        raise ProtocolError("--folds: the arms of this protocol name its folds; write its TOML")
    old = re.search(r'(?m)^name = "(.*)"', text)
    title = f"{folds} folds, by the rules of {old[1] if old else 'another protocol'}"
    made = re.sub(r"\A(#.*\n)+", "", made)  # what was said of the old folds
    made = re.sub(r'(?m)^title = ".*"', f'title = "{title}"', made, count=1)
    return re.sub(r"(?m)^folds = \d+", f"folds = {folds}", made, count=1)


def known_pairs(
    given: Path | None, dataset: str, image_ids: Sequence[str]
) -> list[tuple[str, str]]:
    """Pairs of images that must share a group: those of a file, else the committed ones.

    Of committed ones the pairs whose images the dataset has.
    """
    if given is not None:
        return read_pairs(given)
    listed = _committed("duplicates", dataset, image_ids)
    return [(line["image_a"], line["image_b"]) for _, line in listed]


def missed_pairs(dataset: str, image_ids: Sequence[str]) -> tuple[MissedPair, ...]:
    """Pairs that were found after the dataset's roles had been frozen, and whose images it has.

    They stand in `<dataset>_duplicates_missed.csv` beside the roles, which never change.
    """
    listed = _committed("duplicates_missed", dataset, image_ids)
    return tuple(
        MissedPair(line["image_a"], line["image_b"], line.get("verdict", ""), path.name)
        for path, line in listed
    )


def _committed(
    what: str, dataset: str, image_ids: Sequence[str]
) -> list[tuple[Path, dict[str, str]]]:
    """The lines of committed lists that name images of the dataset, each with its file.

    Lists of other datasets count where they speak of the same images: ids of the ISIC Archive are
    given once, and ISIC 2019 holds HAM10000.
    """
    have = set(image_ids)
    return [
        (path, line)
        for path in sorted(PROTOCOLS.glob(f"*/*_{what}.csv"))
        for line in _read_lines(path)
        if have.issuperset(pair := (line["image_a"], line["image_b"]))
        and (path.name == f"{dataset}_{what}.csv" or all(map(_is_of_the_archive, pair)))
    ]


def _is_of_the_archive(image_id: str) -> bool:
    return image_id.startswith(ARCHIVE)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Pairs of image ids from a CSV with the columns image_a and image_b, in any dialect."""
    return [(line["image_a"], line["image_b"]) for line in _read_lines(path)]


def _read_lines(path: Path) -> list[dict[str, str]]:
    """The lines of a list of pairs, by column. Raises DataError that names what is wrong."""
    header, lines = read_lines(read_text(path, raise_blocking), str(path), raise_blocking)
    if not {"image_a", "image_b"} <= set(header):
        raise RolesError(f"{path}: needs the columns image_a and image_b")
    found = []
    for line in lines:
        hidden = control_fault(line, ("image_a", "image_b"))
        if hidden:
            raise_blocking(hidden)
        if not (line.cells["image_a"] and line.cells["image_b"]):
            raise RolesError(f"{line.where}: names one image only; a pair takes two")
        found.append(line.cells)
    return found
