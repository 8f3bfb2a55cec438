"""Protocols: list, verify, export and freeze them; lists of known duplicates beside them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.audit import MissedPair
from bench.data.issues import raise_blocking
from bench.data.open import DatasetSpec
from bench.data.readers.base import control_fault, read_lines, read_text
from bench.dataset import Dataset
from bench.errors import ProtocolError, RolesError
from bench.io import write_atomically
from bench.protocol import (
    NAME,
    Protocol,
    RolesFile,
    format_roles,
    load_roles,
    parse_protocol,
)
from bench.settings import PROTOCOLS
from bench.workflows.open import OpenBench, load_known_protocol
from bench.workflows.workspace import (
    add_roles,
    find_protocol,
    own_protocols,
    pair_files,
    protocol_files,
)

ARCHIVE = "ISIC_"
"""Prefix of image ids of the ISIC Archive."""


@dataclass(frozen=True)
class VerifiedRoles:
    """Roles proven sound: their file, what was proven, and known duplicates in two groups."""

    file: str
    proven: tuple[str, ...]
    apart: tuple[MissedPair, ...]


@dataclass(frozen=True)
class FrozenRoles:
    """Roles that were written: their file, its hash, the protocol's file, and what was proven."""

    file: Path
    sha256: str
    protocol_file: Path
    proven: tuple[str, ...]


@dataclass(frozen=True)
class Assumed:
    """Assumptions of the smallest detectable difference, each between 0 and 1.

    disagreement  share of images on which two methods differ
    correlation   of their differences within a group
    power         chance to detect the difference
    """

    disagreement: float = 0.2
    correlation: float = 0.3
    power: float = 0.8


def describe_folds(bench: OpenBench, assumed: Assumed) -> tuple[str, str]:
    """Two Markdown tables: balance of the test parts, and the smallest detectable differences."""
    from bench.folds.balance import balance_markdown, balance_table
    from bench.folds.power import Assumptions, detectable_markdown, detectable_table

    level = bench.protocol.interval.level
    given = Assumptions(assumed.disagreement, assumed.correlation, assumed.power, level)
    detectable = detectable_table(bench.roles, bench.dataset, bench.protocol, given)
    balance = balance_markdown(balance_table(bench.roles, bench.dataset))
    return balance, detectable_markdown(detectable, given)


def export_folds(bench: OpenBench, path: Path) -> None:
    """Write the folds to a .csv or .json, or to nnU-Net's splits_final.json.

    Raises ProtocolError where the file cannot be written, or has another suffix.
    """
    from bench.folds.export import export_text

    text = export_text(bench.roles, bench.protocol, path)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise ProtocolError(f"--export {path}: cannot be written: {error.strerror}") from None


def list_protocols() -> tuple[list[Protocol], list[ProtocolError | OSError]]:
    """Every protocol, and the error of each that is broken."""
    known: list[Protocol] = []
    broken: list[ProtocolError | OSError] = []
    for name in protocol_files():
        try:
            known.append(load_known_protocol(name))
        except (ProtocolError, OSError) as error:
            broken.append(error)
    return known, broken


def verify_roles(
    protocol_name: str, data: DatasetSpec, duplicates: Path | None = None
) -> VerifiedRoles:
    """Prove frozen roles sound and drawn for this dataset. Raises RolesError if they are not.

    duplicates  CSV of image pairs that must share a group; default: the committed lists
    """
    from bench.folds.verify import verify

    protocol = load_known_protocol(protocol_name)
    dataset = data.open(images=False).manifest
    roles = load_roles(protocol, dataset.name, PROTOCOLS)
    roles.refuse_other_roster(dataset)
    ids = dataset.image_ids.tolist()
    proven = verify(roles, dataset, protocol, known_pairs(duplicates, dataset.name, ids))
    group_of = dict(zip(roles.image_ids, roles.group_ids, strict=True))
    apart = tuple(
        pair
        for pair in missed_pairs(dataset.name, ids)
        if group_of[pair.image_a] != group_of[pair.image_b]
    )
    return VerifiedRoles(protocol.roles[dataset.name].file, tuple(proven), apart)


def freeze_roles(
    protocol_name: str,
    data: DatasetSpec,
    *,
    new_name: str | None = None,
    folds: int | None = None,
    assigner: str | None = None,
    duplicates: Path | None = None,
) -> FrozenRoles:
    """Draw the roles of a dataset once, by a protocol's rules, and write them into the workspace.

    new_name  name of a new protocol with the same rules; needed for other `folds` or `assigner`

    Raises ProtocolError where roles exist already, RolesError where drawn roles are not sound.
    """
    from bench.folds.kinds import freeze
    from bench.folds.verify import absent_classes, verify

    dataset = data.open(images=False).manifest
    target = new_name or protocol_name
    rules = find_protocol(protocol_name)
    _refuse_target(rules, dataset, new_name, folds, assigner)
    text = ""
    if new_name is not None:
        source = protocol_files()[protocol_name].path
        text = renamed(source.read_text(encoding="utf-8"), new_name, folds, assigner)
        rules = parse_protocol(text, new_name)
    ids = dataset.image_ids.tolist()
    pairs = known_pairs(duplicates, dataset.name, ids)
    if duplicates is None:  # older roles keep these apart; new roles need not
        pairs += [(pair.image_a, pair.image_b) for pair in missed_pairs(dataset.name, ids)]
    roles = freeze(dataset, rules.split, pairs)
    content = format_roles(roles).encode()
    file = f"{target}/{dataset.name}.csv"
    sha256 = hashlib.sha256(content).hexdigest()
    by_source = rules.split.kind == "source-holdout"
    absent = absent_classes(roles, dataset) if by_source else {}
    section = roles_section(dataset.name, file, sha256, absent)
    entry = RolesFile(file=file, sha256=sha256, absent=absent)
    named = rules.model_copy(update={"roles": {**rules.roles, dataset.name: entry}})
    try:
        proven = verify(roles, dataset, named, pairs)
    except RolesError as error:
        raise RolesError(f"the drawn roles are not sound, nothing is written: {error}") from None
    write_atomically(own_protocols() / file, content)
    if new_name is None:
        toml = add_roles(protocol_name, section)
    else:
        toml = own_protocols() / f"{new_name}.toml"
        write_atomically(toml, f"{text.rstrip()}\n\n{section}".encode())
    return FrozenRoles(own_protocols() / file, sha256, toml, tuple(proven))


def _refuse_target(
    rules: Protocol,
    dataset: Dataset,
    new_name: str | None,
    folds: int | None,
    assigner: str | None,
) -> None:
    """Raise ProtocolError where new roles would replace others, or need a new protocol."""
    if new_name is None:
        if dataset.name in rules.roles:
            raise ProtocolError(
                f"{rules.name} has roles for {dataset.name}, and frozen roles never change; "
                "give the new protocol a name: --as NAME"
            )
        for option, value in (("--folds", folds), ("--dealer", assigner)):
            if value is not None:
                raise ProtocolError(f"{option} {value}: makes a new protocol; name it: --as NAME")
        return
    if not re.fullmatch(NAME, new_name):
        raise ProtocolError(
            f"--as {new_name!r}: a protocol is named by lower-case letters, digits and hyphens"
        )
    if new_name in protocol_files():
        raise ProtocolError(
            f"--as {new_name}: {protocol_files()[new_name].path} exists; choose another name"
        )


def roles_section(dataset: str, file: str, sha256: str, absent: Mapping[str, Sequence[str]]) -> str:
    """TOML section of the roles of one dataset, with the classes that its parts lack."""
    section = f'[roles.{dataset}]\nfile = "{file}"\nsha256 = "{sha256}"\n'
    entries = [
        f'"{place}" = [{", ".join(json.dumps(name) for name in names)}]'
        for place, names in absent.items()
    ]
    if entries:
        section += f"absent = {{ {', '.join(entries)} }}\n"
    return section


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
    made = re.sub(r"\A(#.*\n)+", "", made)  # comments on the old folds
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

    They are in `<dataset>_duplicates_missed.csv` beside the roles, which never change.
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
        for path in pair_files(f"*/*_{what}.csv")
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
