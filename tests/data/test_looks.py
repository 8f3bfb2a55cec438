"""What an image looks like beside a training part: distance by scipy, pictures that are no skin."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from bench.data.appearance import FEWEST, LEAST_SKIN, Appearance, measure_appearance, skin_share
from bench.data.images import decode
from bench.data.synthetic import draw_images
from bench.data.synthetic_cohort import cohort_table
from tests.real_data import HAM10000, needs_ham10000


@pytest.fixture(scope="module")
def drawn():
    table = cohort_table()
    table = table[table["lesion_id"].isin(table["lesion_id"].unique()[:120])]
    return [pixels[..., ::-1] for _, pixels in draw_images(table)]


def strangers():
    rng = np.random.default_rng(0)
    flat = np.ones((96, 128, 3))

    def noisy(colour, spread):
        return np.clip(flat * colour + rng.normal(0, spread, flat.shape), 0, 255).astype(np.uint8)

    yield "grass", noisy((60, 140, 40), 25)
    yield "sky", noisy((120, 170, 230), 5)
    yield "paper", noisy((250, 250, 250), 1)
    yield "noise", rng.integers(0, 256, flat.shape).astype(np.uint8)
    yield "lens cap", np.zeros(flat.shape, np.uint8)


def test_the_distance_is_mahalanobis_and_its_limit_a_quantile(drawn):
    seen = np.array([measure_appearance(image) for image in drawn])
    looks = Appearance.of(drawn)
    precision = np.array(looks.precision)
    expected = [mahalanobis(each, seen.mean(axis=0), precision) for each in seen]
    assert np.allclose([looks.distance(each) for each in seen], expected)
    assert looks.limit == pytest.approx(np.quantile(expected, 0.999))
    assert np.allclose(
        np.linalg.inv(precision), np.cov(seen.T), atol=0.002 * seen.var(axis=0).max()
    )
    assert Appearance(**looks.to_dict()) == looks


def test_images_of_its_kind_are_alike_and_strangers_are_not(drawn):
    looks, others = Appearance.of(drawn[::2]), drawn[1::2]
    far = np.array([looks.distance(measure_appearance(image)) for image in others])
    assert (far > looks.limit).mean() < 0.05
    for name, image in strangers():
        assert looks.distance(measure_appearance(image)) > looks.limit, name
        assert skin_share(image) < LEAST_SKIN or name == "noise", name
    without_colour = np.repeat(drawn[0].mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    assert skin_share(without_colour) == 0
    assert min(skin_share(image) for image in drawn) > LEAST_SKIN


def test_too_few_images_have_no_looks(drawn):
    assert Appearance.of(drawn[: FEWEST - 1]) is None
    assert Appearance.of([np.full((8, 8, 3), 90, np.uint8)] * FEWEST).limit == 0


@needs_ham10000
def test_on_ham10000_few_images_are_warned_of_and_what_was_done_to_one_is_seen():
    paths = sorted(HAM10000.rglob("*.jpg"))[::10]
    images = [decode(path.read_bytes()) for path in paths]
    looks, others = Appearance.of(images[::2]), images[1::2]
    far = np.array([looks.distance(measure_appearance(image)) for image in others])
    assert (far > looks.limit).mean() < 0.01
    assert np.mean([skin_share(image) < LEAST_SKIN for image in images]) < 0.01
    seen = [looks.distance(measure_appearance(image[..., ::-1])) > looks.limit for image in others]
    assert np.mean(seen) > 0.5  # red and blue changed over
    dark = [looks.distance(measure_appearance((image * 0.3).astype(np.uint8))) for image in others]
    assert np.mean(np.array(dark) > looks.limit) > 0.9
