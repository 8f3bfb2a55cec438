"""Ensemble predictor: calibrated mean of the members, warnings, pictures."""

from dataclasses import replace

import numpy as np
import pytest

from bench.calibrate import fit_temperature, temper
from bench.method import Recipe
from bench.train import checkpoint, fit_predict
from bench.train.predictor import SIDE, load_classifier, load_predictor
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


def test_the_metadata_have_the_temperature_of_the_image_model(train):
    task, _, path = train(metadata="late", temperature=True)
    metadata = checkpoint.read_raw_metadata(path)
    member = load_classifier(path)
    files = [draw_image(r) for r in small_records() if r.image_id in task.val.image_ids]
    raw = replace(member, temperature=1.0).probs(files)
    assert metadata["image_temperature"] == pytest.approx(fit_temperature(raw, task.val.labels))
    assert metadata["temperature"] == pytest.approx(task.journal.facts["temperature"], abs=1e-6)
    assert metadata["trained_on"]["images"] == len(task.train)
    assert "use the image alone" in " ".join(load_predictor(path).about())


def test_probabilities_are_the_mean_of_the_calibrated_members(train, images):
    paths = [train("a")[2], train("b", lr=1e-2)[2]]
    members = [load_classifier(path) for path in paths]
    expected = [temper(each.probs(images), each.image_temperature) for each in members]
    found = [prediction.probs for prediction in load_predictor(paths).predict(images)]
    assert np.allclose(found, np.mean(expected, axis=0), atol=1e-6)
    raw = [
        prediction.probs for prediction in load_predictor(paths, calibrated=False).predict(images)
    ]
    assert np.allclose(raw, np.mean([each.probs(images) for each in members], axis=0), atol=1e-6)
    assert "fitted on its val part" in load_predictor(paths).about()[0]
    assert "not calibrated" in load_predictor(paths, calibrated=False).about()[0]
    assert members[0].describe()["trained_on"]["seed"] == 0


def test_it_warns_of_small_long_and_colourless_images_and_of_no_training_image(train, images):
    predictor = load_predictor([train()[2]])
    said = [prediction.warnings for prediction in predictor.predict(images)]
    assert not any("training images" in word for words in said for word in words)
    grey = np.full((30, 90, 3), 128, np.uint8)
    tiny = images[0][:8, :8]
    long, small = (prediction.warnings for prediction in predictor.predict([grey, tiny]))
    assert any("90x30 is distorted" in word for word in long)
    assert any("not like skin: 0%" in word for word in long)
    assert any("unlike the training images" in word for word in long)
    assert any("8x8 pixels, less than the model's 16x16" in word for word in small)


def test_a_checkpoint_without_optional_metadata_predicts_and_states_its_limits(train, images):
    path = train()[2]
    metadata = checkpoint.read_raw_metadata(path)
    for name in ("looks", "image_temperature", "trained_on"):
        metadata.pop(name)
    member = load_classifier(path)
    checkpoint.save_best(path, member.model, metadata)
    predictor = load_predictor([path])
    said = " ".join(predictor.about())
    assert "not calibrated" in said
    assert "unlike them cause no warning" in said
    assert np.allclose(predictor.predict(images)[0].probs, member.probs(images)[0], atol=1e-6)


def test_the_picture_has_image_map_and_disclaimer(train, images):
    predictor = load_predictor([train()[2]])
    prediction = predictor.predict(images)[0]
    picture = np.asarray(predictor.picture("one.png", images[0], prediction))
    assert picture.shape[1] > 2 * SIDE
    assert picture.shape[0] > SIDE
    heat = predictor.heat_map(images[0], prediction.predicted)
    assert heat.shape == (SIDE, SIDE, 3)
    assert predictor.classes == CLASSES
