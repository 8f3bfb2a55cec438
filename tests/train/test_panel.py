"""Trained models asked about pictures: the mean of the members, what warns, what is drawn."""

from dataclasses import replace

import numpy as np
import pytest

from bench.calibrate import fit_temperature, temper
from bench.method import Recipe
from bench.train import checkpoint, fit_predict
from bench.train.predictor import SIDE, EnsemblePredictor, describe, load_classifier
from tests.conftest import CLASSES, draw_image, small_records

RECIPE = Recipe(image_size=16, epochs=2, batch_size=8, lr=5e-3)


@pytest.fixture
def train(make_task):
    def run(folder="job", **switches):
        task = make_task(RECIPE.with_overrides(switches), folder)
        predictions = fit_predict(task)
        return task, predictions, task.folder / "best.safetensors"

    return run


@pytest.fixture
def images():
    return [draw_image(record) for record in small_records()[:4]]


def test_the_header_tells_what_the_image_alone_is_tempered_by(train):
    task, _, path = train(metadata="late", temperature=True)
    header = checkpoint.told_by(path)
    member = load_classifier(path)
    files = [draw_image(r) for r in small_records() if r.image_id in task.val.image_ids]
    raw = replace(member, temperature=1.0).probs(files)
    assert header["image_temperature"] == pytest.approx(fit_temperature(raw, task.val.labels))
    assert header["temperature"] == pytest.approx(task.journal.facts["temperature"], abs=1e-6)
    assert header["trained_on"]["images"] == len(task.train)
    assert "the image speaks alone" in " ".join(EnsemblePredictor.load([path]).about())


def test_probabilities_are_the_mean_of_the_calibrated_members(train, images):
    paths = [train("a")[2], train("b", lr=1e-2)[2]]
    members = [load_classifier(path) for path in paths]
    expected = [temper(each.probs(images), each.image_temperature) for each in members]
    found = [opinion.probs for opinion in EnsemblePredictor.load(paths).opinions(images)]
    assert np.allclose(found, np.mean(expected, axis=0), atol=1e-6)
    raw = [
        opinion.probs
        for opinion in EnsemblePredictor.load(paths, calibrated=False).opinions(images)
    ]
    assert np.allclose(raw, np.mean([each.probs(images) for each in members], axis=0), atol=1e-6)
    assert "fitted on its val part" in EnsemblePredictor.load(paths).about()[0]
    assert "not calibrated" in EnsemblePredictor.load(paths, calibrated=False).about()[0]
    assert describe(members[0])["trained_on"]["seed"] == 0


def test_it_warns_of_small_long_and_colourless_images_and_of_no_training_image(train, images):
    panel = EnsemblePredictor.load([train()[2]])
    said = [opinion.warnings for opinion in panel.opinions(images)]
    assert not any("training images" in word for words in said for word in words)
    grey = np.full((30, 90, 3), 128, np.uint8)
    tiny = images[0][:8, :8]
    long, small = (opinion.warnings for opinion in panel.opinions([grey, tiny]))
    assert any("90x30 is squeezed" in word for word in long)
    assert any("not like skin: 0%" in word for word in long)
    assert any("unlike the training images" in word for word in long)
    assert any("8x8 pixels are fewer than the 16x16" in word for word in small)


def test_a_checkpoint_of_before_is_taken_and_says_what_it_cannot(train, images):
    path = train()[2]
    header = checkpoint.told_by(path)
    for name in ("looks", "image_temperature", "trained_on"):
        header.pop(name)
    member = load_classifier(path)
    checkpoint.save_best(path, member.model, header)
    panel = EnsemblePredictor.load([path])
    said = " ".join(panel.about())
    assert "not calibrated" in said
    assert "no warning of images unlike them" in said
    assert np.allclose(panel.opinions(images)[0].probs, member.probs(images)[0], atol=1e-6)


def test_the_picture_shows_image_map_and_notice(train, images):
    panel = EnsemblePredictor.load([train()[2]])
    opinion = panel.opinions(images)[0]
    picture = np.asarray(panel.picture("one.png", images[0], opinion))
    assert picture.shape[1] > 2 * SIDE
    assert picture.shape[0] > SIDE
    heat = panel.heat(images[0], opinion.called)
    assert heat.shape == (SIDE, SIDE, 3)
    assert panel.classes == CLASSES
