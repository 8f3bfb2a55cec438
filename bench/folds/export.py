"""A protocol's folds for other programs: CSV, JSON, and nnU-Net's splits_final.json."""

from __future__ import annotations

import json
from pathlib import Path

from bench.errors import ProtocolError
from bench.protocol import PARTS, Protocol, Roles, format_roles

NNUNET = "splits_final.json"


def export_text(roles: Roles, protocol: Protocol, file: Path) -> str:
    """The content of the export file `file`. Raises ProtocolError for an unknown suffix.

    .csv   one row per image: image_id, group_id, fold0, ...
    .json  one list entry per fold: its arm, repeat and fold, and the image ids of each part
    splits_final.json  format of nnU-Net: train and val of every fold, without test images
    """
    if file.name == NNUNET:
        return _json([_parts(roles, column, PARTS[1:3]) for column in range(roles.columns)])
    if file.suffix == ".csv":
        return format_roles(roles).partition("\n")[2]
    if file.suffix == ".json":
        places = [_place(protocol, column) for column in range(roles.columns)]
        return _json(
            [place | _parts(roles, column, PARTS[1:]) for column, place in enumerate(places)]
        )
    raise ProtocolError(f"--export {file}: use a name that ends in .csv or .json, or {NNUNET}")


def _parts(roles: Roles, column: int, names: tuple[str, ...]) -> dict[str, object]:
    return {part: roles.image_ids[roles.rows(column, part)].tolist() for part in names}


def _place(protocol: Protocol, column: int) -> dict[str, object]:
    repeat, fold = divmod(column, protocol.folds)
    arms = [arm for arm, columns in protocol.split.arm_columns.items() if column in columns]
    return {"column": column, "repeat": repeat, "fold": fold, "arm": arms[0] if arms else None}


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
