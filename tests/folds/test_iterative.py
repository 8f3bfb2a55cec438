"""The iterative assigner corrects for group sizes, which iterative-stratification ignores."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import ProtocolError
from bench.folds.kinds import freeze
from bench.protocol import Roles, parse_protocol
from tests.conftest import ROOT
from tests.folds.cohorts import random_manifest, small_split


@pytest.mark.parametrize("seed", range(5))
def test_local_search_removes_the_imbalance_of_iterative_stratification(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = random_manifest(seed, patients=200)
    split = small_split(seed=seed, dealer="iterative")

    def worst(roles: Roles) -> float:
        shares = [
            np.bincount(manifest.labels[roles.rows(fold, "test")], minlength=4) for fold in range(5)
        ]
        even = np.bincount(manifest.labels, minlength=4) / 5
        return float(np.abs(np.stack(shares) / even - 1).max())

    searched = worst(freeze(manifest, split))
    monkeypatch.setattr("bench.folds.iterative.local_search", lambda part_of, _balance: part_of)
    plain = worst(freeze(manifest, split))
    assert searched < 0.05 < plain


def test_too_many_groups_are_refused_with_a_hint_to_the_greedy_assigner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = random_manifest(0)
    groups = len(set(manifest.native_groups))
    monkeypatch.setattr("bench.folds.iterative.MOST_GROUPS", 50)
    assert freeze(manifest, small_split()).columns == 5
    message = r"more than 50 groups, and random has \d+; the greedy .* --as NAME --dealer greedy"
    with pytest.raises(ProtocolError, match=message):
        freeze(manifest, small_split(dealer="iterative"))
    assert groups > 50


@pytest.mark.parametrize(
    ("name", "dealer", "message"),
    [
        ("groupkfold5", "lottery", "split.dealer: input should be 'greedy' or 'iterative'"),
        (
            "holdout",
            "iterative",
            "iterative is for groupkfold only; use greedy for holdout",
        ),
        ("learning-curve", "iterative", "use greedy for learning-curve"),
    ],
)
def test_unknown_or_unfit_assigners_are_refused(name: str, dealer: str, message: str) -> None:
    text = (ROOT / "protocols" / f"{name}.toml").read_text().replace('dealer = "iterative"\n', "")
    with pytest.raises(ProtocolError, match=message):
        parse_protocol(text.replace("[split]\n", f'[split]\ndealer = "{dealer}"\n'), "here.toml")
