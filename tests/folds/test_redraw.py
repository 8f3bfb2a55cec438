"""Committed roles drawn anew from their TOML, bit for bit: the code still is what drew them.

They would stay valid where a library's next version draws others: roles are membership, not a seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.readers.ham10000 import read_ham10000
from bench.data.synthetic import synthetic_manifest
from bench.dataset import Dataset
from bench.folds.kinds import freeze
from bench.protocol import format_roles, load_protocol
from bench.workflows.protocols import known_pairs
from tests.conftest import ROOT
from tests.real_data import HAM10000, needs_ham10000

PROTOCOLS = ROOT / "protocols"
DEALERS = {
    "groupkfold5": "iterative",
    "groupkfold10": "greedy",
    "holdout": "greedy",
    "imagekfold5": "greedy",
    "leakage-meter": "greedy",
    "learning-curve": "greedy",
    "source-holdout": "greedy",
}


def refuse_difference(name: str, manifest: Dataset) -> None:
    """Fail unless the protocol's own split draws the committed file."""
    protocol = load_protocol(name, PROTOCOLS)
    pairs = known_pairs(None, manifest.name, manifest.image_ids.tolist())
    committed = (PROTOCOLS / protocol.roles[manifest.name].file).read_bytes()
    assert format_roles(freeze(manifest, protocol.split, pairs)).encode() == committed


def test_every_protocol_names_its_dealer_here() -> None:
    found = {path.stem: load_protocol(path.stem, PROTOCOLS).split for path in _tomls()}
    again = DEALERS | {"repeated-groupkfold5": "greedy"}  # as groupkfold10, and longer
    assert {name: split.dealer for name, split in found.items()} == again


def _tomls() -> list[Path]:
    return sorted(PROTOCOLS.glob("*.toml"))


@pytest.mark.parametrize("name", DEALERS)
def test_the_synthetic_roles_are_drawn_again(name: str) -> None:
    refuse_difference(name, synthetic_manifest())


@needs_ham10000
def test_the_roles_of_ham10000_are_drawn_again() -> None:
    """Dealt twenty times by iterative-stratification: half a minute."""
    refuse_difference("groupkfold5", read_ham10000(HAM10000))
