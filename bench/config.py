"""bench.toml: options of the workspace that commands would repeat."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from bench.errors import DataError, listing, suggest
from bench.settings import workspace

NAME = "bench.toml"
HELP = {
    "data": "Folder of the dataset, or a file of arrays.",
    "dataset_name": "Short name of the dataset, where its source has none.",
    "groups": "CSV with image_id and patient_id (or lesion_id, group_id).",
    "columns": "Columns of a CSV table: image=...,label=...,group=...",
    "layout": "Metadata layout, if the folder holds several: ham10000, isic2019, ...",
    "malignant": "Malignant classes, separated by commas.",
    "results": "Folder of the results.",
}
PATHS = ("data", "groups", "results")


@dataclass(frozen=True)
class Config:
    """The content of bench.toml. Flags on the command line override it."""

    data: str | None = None
    dataset_name: str | None = None
    groups: str | None = None
    columns: str | None = None
    layout: str | None = None
    malignant: str | None = None
    results: str | None = None

    def given(self) -> dict[str, str]:
        """The options that are set."""
        return {key: value for key, value in asdict(self).items() if value}


def read_config() -> Config:
    """Options of the workspace's bench.toml; empty without one. Raises DataError if it is wrong.

    Relative paths are relative to the folder that holds the workspace.
    """
    path = workspace() / NAME
    if not path.is_file():
        return Config()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: {error}") from None
    known = [field.name for field in fields(Config)]
    for key, value in content.items():
        if key not in known:
            cure = suggest(key, known) or f"; known are {listing(known)}"
            raise DataError(f"{path}: unknown key {key!r}{cure}")
        if not isinstance(value, str):
            raise DataError(f'{path}: {key} is not text; write {key} = "..."')
    config = Config(**content)
    base = workspace().parent
    return replace(config, **{key: str(base / content[key]) for key in PATHS if content.get(key)})


def write_config(config: Config, *, overwrite: bool = False) -> Path:
    """Write bench.toml with a comment for each option; give its path.

    Raises DataError where there is one already, unless `overwrite`.
    """
    from bench.io import write_atomically

    path = workspace() / NAME
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists already; edit it, or give --replace")
    given = config.given()
    lines = [
        "# Options that lesion-bench commands take from here; flags on the command line override",
        "# them. Relative paths are relative to the folder that holds this workspace.",
    ]
    for key, help_text in HELP.items():
        line = f"{key} = {json.dumps(given.get(key, ''), ensure_ascii=False)}"
        lines += ["", f"# {help_text}", line if key in given else f"# {line}"]
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return path
