"""Dealing groups: its sparse counts, its loops and its evenness against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from bench.folds import kernels
from bench.folds.assign import assign_groups, count_attributes
from tests.folds.cohorts import random_manifest


def random_roster(seed: int, groups: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group, class and site numbers of the images of groups of one to seven images."""
    rng = np.random.default_rng(seed)
    member = np.repeat(np.arange(groups), rng.geometric(0.5, groups).clip(max=7))
    rng.shuffle(member)
    labels = rng.choice(5, groups, p=[0.6, 0.2, 0.1, 0.07, 0.03])[member]
    return member, labels, rng.integers(0, 6, len(member))


def dense(member: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many images of each value every group holds, counted one by one."""
    table = np.zeros((member.max() + 1, values.max() + 1))
    for group, value in zip(member, values, strict=True):
        table[group, value] += 1
    return table


@pytest.mark.parametrize("seed", range(5))
def test_the_sparse_rows_hold_what_counting_finds(seed: int) -> None:
    member, labels, sites = random_roster(seed, groups=60)
    sparse = count_attributes(member, labels, [sites])
    sizes = np.minimum(np.bincount(member), 3)[member] - 1
    wanted = np.hstack(
        [
            dense(member, labels),
            np.bincount(member)[:, None],
            dense(member, labels * 3 + sizes),
            dense(member, sites),
        ]
    )
    found = np.zeros(wanted.shape)
    begin = 0
    for group, end in enumerate(sparse.ends):
        columns = sparse.columns[begin:end]
        assert (np.diff(columns) > 0).all()
        found[group, columns] = sparse.amounts[begin:end]
        begin = end
    assert (found == wanted).all()
    assert (sparse.totals == wanted.sum(axis=0)).all()
    chosen = np.array([7, 3, 50])
    assert (sparse.rows(chosen).totals == wanted[chosen].sum(axis=0)).all()


@pytest.mark.parametrize("seed", range(5))
def test_every_step_of_the_loops_lowers_the_cost_it_says(seed: int) -> None:
    """Deviations stay those of the assignment, and no sweep makes the cost grow."""
    member, labels, sites = random_roster(seed, groups=80)
    sparse = count_attributes(member, labels, [sites])
    rng = np.random.default_rng(seed)
    targets = np.outer([0.7, 0.1, 0.2], sparse.totals)
    weights = rng.uniform(0.5, 2, targets.shape)
    part_of = rng.integers(0, 3, len(sparse))
    table = np.zeros((len(sparse), len(sparse.totals)))
    group = np.repeat(np.arange(len(sparse)), np.diff(sparse.ends, prepend=0))
    table[group, sparse.columns] = sparse.amounts

    def measured() -> np.ndarray:
        held = np.stack([table[part_of == part].sum(axis=0) for part in range(3)])
        return held - targets

    deviations = measured()
    rows = (sparse.ends, sparse.columns, sparse.amounts, weights, deviations, part_of)
    costs = [float((weights * deviations**2).sum())]
    for sweep in range(6):
        turns = rng.permutation(len(sparse))
        if sweep % 2:
            partners = rng.integers(len(sparse), size=(len(sparse), 5))
            changed = kernels.compiled().swap(turns, partners, *rows)
        else:
            changed = kernels.compiled().move(turns, *rows)
        np.testing.assert_allclose(deviations, measured(), atol=1e-9)
        costs.append(float((weights * deviations**2).sum()))
        assert costs[-1] < costs[-2] if changed else costs[-1] == costs[-2]


def test_compiled_and_plain_loops_deal_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    member, labels, sites = random_roster(1, groups=40)
    shares = np.array([0.7, 0.1, 0.2])

    def dealt() -> np.ndarray:
        return assign_groups(
            count_attributes(member, labels, [sites]), shares, np.random.default_rng(0)
        )

    fast = dealt()
    plain = kernels.Loops(kernels.gather, kernels.move, kernels.swap)
    monkeypatch.setattr("bench.folds.assign.compiled", lambda: plain)
    assert (dealt() == fast).all()


@pytest.mark.parametrize("seed", range(10))
def test_classes_are_as_even_as_scikit_learns_and_the_rest_twice_as_even(seed: int) -> None:
    member, labels, sites = random_roster(seed, groups=1500)
    dealt = assign_groups(
        count_attributes(member, labels, [sites]), np.full(5, 0.2), np.random.default_rng(seed)
    )
    theirs = np.empty(len(member), dtype=np.int64)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(labels[:, None], labels, member)):
        theirs[test] = fold

    def unevenness(fold: np.ndarray, values: np.ndarray) -> float:
        counts = np.stack([np.bincount(values[fold == k], minlength=6) for k in range(5)])
        even = np.maximum(counts.mean(axis=0), 1)
        return float(((counts - even) ** 2 / even).sum())

    ours = dealt[member]
    assert unevenness(ours, labels) <= unevenness(theirs, labels) * (1 + 1e-9)
    assert 2 * unevenness(ours, sites) < unevenness(theirs, sites)


def test_large_rosters_are_dealt_without_exchanges() -> None:
    """Above 20,000 groups only moves are made; still every class comes within a hundredth."""
    member, labels, sites = random_roster(0, groups=21_000)
    dealt = assign_groups(
        count_attributes(member, labels, [sites]), np.full(5, 0.2), np.random.default_rng(0)
    )
    counts = np.stack([np.bincount(labels[dealt[member] == k], minlength=5) for k in range(5)])
    assert np.abs(counts / counts.mean(axis=0) - 1).max() < 0.01


def test_more_candidates_are_never_less_even() -> None:
    manifest = random_manifest(2, patients=200)
    member = np.unique(manifest.native_groups.astype(str), return_inverse=True)[1]
    sparse = count_attributes(member, manifest.labels, [])

    def worst(candidates: int) -> float:
        rng = np.random.default_rng(0)
        part_of = assign_groups(sparse, np.full(5, 0.2), rng, candidates)[member]
        counts = np.stack([np.bincount(manifest.labels[part_of == k]) for k in range(5)])
        return float(np.abs(counts / counts.mean(axis=0) - 1).max())

    assert worst(10) <= worst(1) + 0.02
