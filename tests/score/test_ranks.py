"""Ranks and their spread over the resamples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bench.leaderboard import Rank
from bench.score.significance import rank_rows, ranks_of


@pytest.mark.parametrize("seed", range(10))
def test_ranks_equal_scipys_with_ties_sharing_the_better(seed):
    scores = np.random.default_rng(seed).integers(0, 4, (6, 20)).astype(float)
    theirs = scipy.stats.rankdata(-scores, method="min", axis=0)
    assert np.array_equal(ranks_of(scores), theirs)


def test_a_row_that_always_wins_is_surely_first():
    replicates = np.random.default_rng(0).normal(0, 1, (3, 500)) + np.array([[9], [0], [0]])
    first, second, third = rank_rows([9, 0.1, 0], replicates, 0.95, higher=True)
    assert first == Rank(best=1, low=1, high=1, p_best=1.0, shares=(1, 0, 0))
    assert (second.best, third.best) == (2, 3)
    assert (second.low, second.high) == (2, 3)
    assert second.p_best == 0


def test_for_a_loss_the_lowest_is_first():
    ranks = rank_rows([0.3, 0.2], np.array([[0.3] * 9, [0.2] * 9]), 0.95, higher=False)
    assert [rank.best for rank in ranks] == [2, 1]
    assert [rank.p_best for rank in ranks] == [0, 1]


def test_equal_rows_share_the_rank_and_the_chance():
    replicates = np.tile(np.random.default_rng(1).normal(size=400), (2, 1))
    ranks = rank_rows([0.5, 0.5], replicates, 0.95, higher=True)
    assert ranks == [Rank(best=1, low=1, high=1, p_best=0.5, shares=(1, 0))] * 2


def test_chances_of_being_best_sum_to_one():
    replicates = np.random.default_rng(2).integers(0, 3, (4, 300)).astype(float)
    ranks = rank_rows([1.0, 2.0, 0.5, 1.5], replicates, 0.95, higher=True)
    assert sum(rank.p_best for rank in ranks) == pytest.approx(1)
    assert all(rank.low <= rank.high for rank in ranks)


def test_shares_of_ranks_are_counted_in_the_resamples():
    replicates = np.random.default_rng(3).integers(0, 3, (4, 300)).astype(float)
    theirs = scipy.stats.rankdata(-replicates, method="min", axis=0)
    for own, rank in zip(
        theirs, rank_rows([1, 2, 0, 1], replicates, 0.95, higher=True), strict=True
    ):
        counts = [(own == place).mean() for place in (1, 2, 3, 4)]
        assert rank.shares == pytest.approx(counts)
        assert sum(rank.shares) == pytest.approx(1)


def test_the_interval_of_a_rank_is_of_ranks_that_were_drawn():
    replicates = np.random.default_rng(0).normal(0, 1, (5, 2000))
    theirs = scipy.stats.rankdata(-replicates, method="min", axis=0)
    ranks = rank_rows([0.1, 0.2, 0.3, 0.4, 0.5], replicates, 0.5, higher=True)
    for rank, own in zip(ranks, np.sort(theirs), strict=True):
        assert (rank.low, rank.high) == (own[499], own[1499])


def test_a_rank_that_is_drawn_once_in_ten_is_within_ninety_percent():
    replicates = np.array([[1.0] * 9 + [0.0], [0.5] * 10])
    first, second = rank_rows([1.0, 0.5], replicates, 0.9, higher=True)
    assert (first.low, first.high) == (1, 2)
    assert (second.low, second.high) == (1, 2)


def test_an_undefined_row_is_unranked_and_the_others_close_up():
    replicates = np.array([[0.1, 0.1], [np.nan, np.nan], [0.2, 0.2]])
    low, undefined, high = rank_rows([0.1, np.nan, 0.2], replicates, 0.95, higher=True)
    assert undefined == Rank()
    assert (low.best, high.best) == (2, 1)


def test_resamples_in_which_a_row_is_undefined_are_left_out():
    replicates = np.array([[0.1, 0.9], [0.2, np.nan]])
    ranks = rank_rows([0.1, 0.2], replicates, 0.95, higher=True)
    assert [rank.p_best for rank in ranks] == [0, 1]
    empty = rank_rows([0.1, 0.2], np.full((2, 3), np.nan), 0.95, higher=True)
    assert [(rank.best, rank.low) for rank in empty] == [(2, None), (1, None)]
