"""The files of frozen roles: a protocol's TOML with one more dataset, and lists of duplicates."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.cli.places import PROTOCOLS
from bench.errors import ProtocolError, RolesError, listing


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
    return re.sub(r"(?m)^folds = \d+", f"folds = {folds}", made, count=1)


def known_pairs(
    given: Path | None, dataset: str, image_ids: Sequence[str]
) -> list[tuple[str, str]]:
    """Pairs of images that must share a group: those of a file, else the dataset's committed ones.

    Of committed ones the pairs whose images the dataset has.
    """
    if given is not None:
        return read_pairs(given)
    have = set(image_ids)
    committed = sorted(PROTOCOLS.glob(f"*/{dataset}_duplicates.csv"))
    pairs = [pair for path in committed for pair in read_pairs(path)]
    return [pair for pair in pairs if have.issuperset(pair)]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Pairs of image ids from a CSV with the columns image_a and image_b."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if not {"image_a", "image_b"} <= set(reader.fieldnames or ()):
                raise RolesError(f"{path}: needs the columns image_a and image_b")
            pairs = [(row["image_a"], row["image_b"]) for row in reader]
    except UnicodeDecodeError:
        raise RolesError(f"{path}: is not UTF-8 text") from None
    except csv.Error as error:
        raise RolesError(f"{path}: not a CSV table: {error}") from None
    short = [line for line, pair in enumerate(pairs, start=2) if not all(pair)]
    if short:
        raise RolesError(f"{path}: lines without both images: {listing(short)}")
    return pairs
