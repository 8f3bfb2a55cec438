"""Protocols of the package and of the workspace.

The workspace is a folder for the protocols, frozen roles, caches and settings of a user:
`--workspace`, else $BENCH_WORKSPACE, else `./lesion-bench/`. Protocols of the package are read
only; roles frozen for another dataset are kept in `<workspace>/protocols/NAME.roles.toml`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import ProtocolError, listing, suggest
from bench.io import write_atomically
from bench.protocol import Protocol, RolesFile, load_protocol
from bench.settings import PROTOCOLS, workspace

ROLES_SUFFIX = ".roles.toml"
FEW = 12
"""Names that an error lists in full."""


class _RolesFragment(BaseModel):
    """The content of NAME.roles.toml: roles of further datasets for a protocol of the package."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: dict[str, RolesFile] = {}


def own_protocols() -> Path:
    """The workspace's folder of protocols."""
    return workspace() / "protocols"


@dataclass(frozen=True)
class ProtocolFile:
    """A protocol's TOML file, and the folder that its roles are relative to."""

    name: str
    folder: Path

    @property
    def path(self) -> Path:
        """The TOML file."""
        return self.folder / f"{self.name}.toml"


def protocol_files() -> dict[str, ProtocolFile]:
    """Every protocol of the package and of the workspace. Raises ProtocolError for a name twice."""
    found: dict[str, ProtocolFile] = {}
    for folder in dict.fromkeys((PROTOCOLS.resolve(), own_protocols().resolve())):
        for path in sorted(folder.glob("*.toml")):
            if path.name.endswith(ROLES_SUFFIX):
                continue
            if path.stem in found:
                raise ProtocolError(
                    f"{path}: a protocol of the package has this name; rename file and protocol"
                )
            found[path.stem] = ProtocolFile(path.stem, folder)
    return dict(sorted(found.items()))


def find_protocol(name: str) -> Protocol:
    """Read a protocol by name, with roles frozen in the workspace. Raises ProtocolError."""
    files = protocol_files()
    if name not in files:
        raise ProtocolError(f"unknown protocol {name!r}{_suggestion(name, list(files))}")
    file = files[name]
    protocol = load_protocol(name, file.folder)
    roles = {dataset: _absolute(each, file.folder) for dataset, each in protocol.roles.items()}
    for dataset, each in _own_roles(name).items():
        if dataset in roles:
            raise ProtocolError(
                f"{_fragment(name)}: protocol {name} has roles for {dataset} already; remove them"
            )
        roles[dataset] = _absolute(each, own_protocols().resolve())
    return protocol.model_copy(update={"roles": roles})


def find_protocols() -> dict[str, Protocol]:
    """Every protocol of the package and of the workspace by name."""
    return {name: find_protocol(name) for name in protocol_files()}


def pair_files(pattern: str) -> list[Path]:
    """Lists of duplicate pairs beside the protocols of the package and of the workspace."""
    folders = dict.fromkeys((PROTOCOLS.resolve(), own_protocols().resolve()))
    return [path for folder in folders for path in sorted(folder.glob(pattern))]


def add_roles(name: str, section: str) -> Path:
    """Add a TOML section with the roles of one more dataset to a protocol; give the file.

    For a protocol of the package the section goes into NAME.roles.toml of the workspace.
    """
    file = protocol_files()[name]
    own = file.folder == own_protocols().resolve()
    path = file.path if own else _fragment(name)
    before = path.read_text(encoding="utf-8").rstrip() + "\n\n" if path.is_file() else ""
    write_atomically(path, (before + section).encode())
    return path


def _fragment(name: str) -> Path:
    return own_protocols() / f"{name}{ROLES_SUFFIX}"


def _own_roles(name: str) -> dict[str, RolesFile]:
    path = _fragment(name)
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        return _RolesFragment.model_validate(tomllib.loads(text)).roles
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ProtocolError(f"{path}: {reason}; remove it or freeze the roles again") from None


def _absolute(roles: RolesFile, folder: Path) -> RolesFile:
    return roles.model_copy(update={"file": str(folder / roles.file)})


def _suggestion(name: str, known: list[str]) -> str:
    return suggest(name, known) or f"; known are {listing(known[:FEW])}"
