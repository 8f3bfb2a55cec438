"""Folds for other programs say what the roles say."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from bench.errors import ProtocolError
from bench.folds.export import export_text
from bench.folds.kinds import freeze
from tests.folds.cohorts import protocol_of, random_manifest, small_split


def test_every_format_holds_the_same_folds() -> None:
    manifest = random_manifest(0)
    protocol = protocol_of(small_split(repeats=2))
    roles = freeze(manifest, protocol.split)
    rows = list(csv.DictReader(io.StringIO(export_text(roles, protocol, Path("a.csv")))))
    entries = json.loads(export_text(roles, protocol, Path("a.json")))
    nnunet = json.loads(export_text(roles, protocol, Path("x/splits_final.json")))
    assert len(entries) == len(nnunet) == 10
    for column, (entry, split) in enumerate(zip(entries, nnunet, strict=True)):
        assert (entry["repeat"], entry["fold"], entry["arm"]) == (column // 5, column % 5, None)
        assert set(split) == {"train", "val"}
        for part in ("train", "val", "test"):
            said = [row["image_id"] for row in rows if row[f"fold{column}"] == part]
            assert entry[part] == said
            assert split.get(part, said) == said


def test_arms_are_named_and_other_endings_refused() -> None:
    arms = {"100%": ["fold0", "fold1"], "50%": ["fold2", "fold3"]}
    protocol = protocol_of(small_split(kind="learning-curve", folds=2, arms=arms))
    roles = freeze(random_manifest(1), protocol.split)
    entries = json.loads(export_text(roles, protocol, Path("a.json")))
    assert [entry["arm"] for entry in entries] == ["100%", "100%", "50%", "50%"]
    with pytest.raises(ProtocolError, match=r"--export a.txt: use a name that ends in"):
        export_text(roles, protocol, Path("a.txt"))
