"""The local search: its bookkeeping against recounting, its result against every alternative."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from bench.folds import iterative as module
from bench.folds.iterative import Balance, local_search


def random_balance(seed: int, groups: int = 30, parts: int = 3) -> tuple[Balance, np.ndarray]:
    rng = np.random.default_rng(seed)
    amounts = rng.integers(0, 4, (groups, 5)).astype(float)
    targets = np.outer(rng.dirichlet(np.full(parts, 5.0)), amounts.sum(axis=0))
    balance = Balance(amounts, targets, 1 / targets, rng.random((groups, parts)) / 10)
    return balance, rng.integers(0, parts, groups)


@pytest.mark.parametrize("seed", range(20))
def test_the_change_of_every_move_is_what_recounting_says(seed: int) -> None:
    balance, part_of = random_balance(seed)
    squares = balance.amounts**2 @ balance.weights.T
    deltas = module._move_deltas(part_of, balance, squares)
    before = balance.cost(part_of)
    for group, part in product(range(len(part_of)), range(3)):
        moved = part_of.copy()
        moved[group] = part
        assert deltas[group, part] == pytest.approx(balance.cost(moved) - before, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_better_is_one_move_or_one_swap_away(seed: int) -> None:
    balance, part_of = random_balance(seed)
    done = local_search(part_of, balance)
    least = balance.cost(done)
    assert least <= balance.cost(part_of)
    for group, part in product(range(len(done)), range(3)):
        moved = done.copy()
        moved[group] = part
        assert balance.cost(moved) >= least - 1e-8
    for one, other in product(range(len(done)), repeat=2):
        swapped = done.copy()
        swapped[[one, other]] = done[[other, one]]
        assert balance.cost(swapped) >= least - 1e-8


def test_it_leaves_its_argument_alone() -> None:
    balance, part_of = random_balance(0)
    kept = part_of.copy()
    local_search(part_of, balance)
    assert (part_of == kept).all()
