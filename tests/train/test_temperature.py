"""Temperature scaling and views, by their definitions."""

import numpy as np
import pytest
import torch

from bench.calibrate import fit_temperature, log_loss, temper
from bench.method import Recipe
from bench.train import fit_predict
from bench.train.evaluate import VIEWS


def some_logits(count=4000, seed=0):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((count, 4))
    probs = _softmax(logits)
    labels = (rng.random((count, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(max=3)
    return logits, labels


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("made_too_sure", [0.5, 1.0, 3.0])
def test_the_fitted_temperature_undoes_what_made_probabilities_too_sure(made_too_sure):
    logits, labels = some_logits()
    found = fit_temperature(_softmax(made_too_sure * logits), labels)
    assert found == pytest.approx(made_too_sure, rel=0.08)


def test_the_fitted_temperature_is_torchs_best():
    logits, labels = some_logits(400)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")
    truth, sharp = torch.from_numpy(labels), torch.from_numpy(2.5 * logits)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(sharp / log_temperature.exp(), truth)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = fit_temperature(_softmax(2.5 * logits), labels)
    assert found == pytest.approx(log_temperature.exp().item(), rel=1e-3)


def test_tempered_probabilities_are_those_of_divided_logits():
    logits, labels = some_logits(50)
    assert np.allclose(temper(_softmax(logits), 1.7), _softmax(logits / 1.7))
    assert (temper(_softmax(logits), 1.7).argmax(1) == logits.argmax(1)).all()
    assert log_loss(_softmax(logits), labels) > 0


def test_temperature_one_changes_no_bit():
    probs = _softmax(some_logits(50)[0]).astype(np.float32)
    assert temper(probs, 1.0) is probs


def test_certain_mistakes_keep_the_temperature_in_its_bounds():
    probs = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert fit_temperature(probs, np.array([1, 1])) == pytest.approx(20, rel=0.01)
    assert fit_temperature(probs, np.array([0, 0])) < 20


def test_views_are_the_symmetries_of_the_square():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    dihedral = {
        tuple(turned.flatten().tolist())
        for turns in range(4)
        for turned in (image.rot90(turns, (2, 3)), image.flip(-1).rot90(turns, (2, 3)))
    }
    views = {
        name: [tuple(view(image).flatten().tolist()) for view in VIEWS[name]] for name in VIEWS
    }
    assert set(views["dihedral"]) == dihedral
    assert len(views["dihedral"]) == 8
    assert len(set(views["flips"])) == 4
    assert views["none"] == [tuple(image.flatten().tolist())]


def test_predictions_are_tempered_only_where_the_recipe_says_so(make_task):
    recipe = Recipe(image_size=16, epochs=2, batch_size=8, lr=5e-3)
    plain = make_task(recipe, "plain")
    tempered = make_task(recipe.with_overrides({"temperature": True}), "tempered")
    expected, found = fit_predict(plain).probs, fit_predict(tempered).probs
    temperature = tempered.journal.facts["temperature"]
    assert plain.journal.facts["temperature"] == temperature
    # the recorded one is rounded
    assert np.allclose(found, temper(expected, temperature), atol=1e-4)
    assert log_loss(tempered.journal.val.probs, tempered.val.labels) <= log_loss(
        plain.journal.val.probs, plain.val.labels
    )


def test_predictions_over_views_do_not_depend_on_how_the_image_lies(make_task):
    recipe = Recipe(image_size=16, epochs=1, batch_size=8, lr=5e-3, tta="dihedral")
    task = make_task(recipe)
    fit_predict(task)
    from bench.train.predictor import load_classifier

    classifier = load_classifier(task.folder / "best.safetensors")
    image = np.asarray(task.test.images.take(np.arange(1)))[0]
    turned = [image, image[::-1], image[:, ::-1], image.transpose(1, 0, 2)]
    probs = classifier.probs(turned)
    assert np.abs(probs - probs[0]).max() < 1e-5
