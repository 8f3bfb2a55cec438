"""The compiled kernels against NumPy and scikit-learn; a missing cache folder is no failure."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from bench.score import kernels
from tests.score import numpy_kernels

FORBIDDEN = ("torch", "numba", "sklearn", "bench.run", "bench.report", "bench.train")


def test_where_nothing_can_be_cached_the_kernels_are_compiled_without_a_cache(monkeypatch):
    import numba

    compile_one = numba.njit

    def uncached(*loops, cache: bool = False, **options: object):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_one(*loops, **options)

    monkeypatch.setattr(numba, "njit", uncached)
    spec = importlib.util.spec_from_file_location("uncached_kernels", kernels.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ours, theirs = (np.zeros((7, 64), dtype=np.uint8) for _ in range(2))
    module.draw(np.uint64(3), 0, ours)
    kernels.draw(np.uint64(3), 0, theirs)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("form", [kernels, numpy_kernels], ids=["numba", "numpy"])
def test_a_count_of_255_is_drawn_and_summed_whole(form):
    """One group drawn 255 times, in a segment longer than the partial sums of 16 bits hold."""
    images, ends = 600, np.array([600])
    weights = np.full((1, 64), 255, dtype=np.uint8)
    items = np.zeros(images, dtype=np.int32)
    cells, sums, ranks = np.zeros((1, 64)), np.zeros((3, 1, 64)), np.zeros((4, 1, 64))
    form.count_cells(weights, items, ends, cells)
    form.add_up(weights, items, np.ones((images, 3)), ends, sums)
    form.rank(
        weights, items, np.array([[images - 1, images, images, images]]), np.array([0, 1]), ranks
    )
    assert (cells == 255 * images).all()
    assert (sums == 255 * images).all()
    assert (ranks[0] == 255).all()
    assert (ranks[1] == 255 * (images - 1)).all()
    assert (ranks[2] == 0).all()
    assert np.allclose(ranks[3], 255 / images)


def test_importing_score_loads_neither_torch_nor_numba_nor_the_runner():
    code = (
        "import sys, bench.score.leaderboard, bench.score.reference_rows; "
        f"print([name for name in {FORBIDDEN} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("form", [kernels, numpy_kernels], ids=["numba", "numpy"])
@pytest.mark.parametrize("seed", range(5))
def test_curves_are_interpolated_as_numpy_does(form, seed):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.integers(0, 12, (30, 9)) / 11, axis=0)  # steep where a rate stands still
    y = rng.random((30, 9))
    places = np.sort(np.append(rng.random(20), x[::7, 0]))
    y[:4, 1] = np.nan  # a precision begins with the first image that is called
    x[:, 2], y[:, 3] = np.nan, np.nan  # a rate of a side that was not drawn
    out = np.empty((len(places), 9))
    form.interpolate(places, x, y, out)
    assert np.isnan(out[:, 2:4]).all()
    for curve in (0, 1, 4, 5, 6, 7, 8):
        known = slice(4 if curve == 1 else 0, None)
        assert (out[:, curve] == np.interp(places, x[known, curve], y[known, curve])).all()


@pytest.mark.parametrize("form", [kernels, numpy_kernels], ids=["numba", "numpy"])
@pytest.mark.parametrize("seed", range(20))
def test_influence_is_the_slope_of_scikit_learns_weighted_auc_and_ap(form, seed):
    rng = np.random.default_rng(seed)
    sizes = np.array([12, 1, 9, 5])
    score = np.concatenate([np.sort(rng.integers(0, 6, size) / 6)[::-1] for size in sizes])
    positive = rng.random(sizes.sum()) < 0.4
    positive[:2], positive[13:15] = (True, False), (True, False)
    positive[-5:] = seed % 2 == 0  # a ranking of positives alone, or of none
    parts = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    for influence, metric, defined in zip(
        form.influence(score, positive, sizes),
        (roc_auc_score, average_precision_score),
        (lambda truth: truth.any() and not truth.all(), lambda truth: truth.any()),
        strict=True,
    ):
        counted = [part for part in parts if defined(positive[part])]
        for at in range(sizes.sum()):
            slopes = [_slope(metric, score[part], positive[part], part == at) for part in counted]
            assert influence[at] == pytest.approx(np.mean(slopes), abs=1e-8)


def _slope(metric, score, positive, moved):
    """Derivative by one image's weight, of a function of weights made of fractions."""
    step = 1e-4
    ends = [metric(positive, score, sample_weight=1 + sign * step * moved) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step)
