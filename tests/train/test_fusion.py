"""Late fusion: metadata that tells the class is heard; what is missing tells by its absence."""

from dataclasses import replace

import numpy as np
from scipy.special import softmax

from bench.method import LabelledPart, Recipe
from bench.train import fit_predict
from bench.train.fusion import NoFusion, build_fusion

SHORT = Recipe(image_size=16, epochs=1, lr=1e-5)


def accuracy(task, probs):
    """In the small dataset sex is the class: male mel, female nv, missing vasc."""
    classes = {"male": 0, "female": 1, None: 2}
    labels = [classes[record.sex] for record in task.test.records]
    return (probs.argmax(axis=1) == labels).mean()


def test_a_model_that_has_learnt_nothing_is_saved_by_metadata(make_task):
    plain, fused = make_task(SHORT), make_task(SHORT.with_overrides({"metadata": "late"}), "fused")
    assert accuracy(plain, fit_predict(plain).probs) < 0.7
    assert accuracy(fused, fit_predict(fused).probs) == 1
    weights = fused.journal.facts["fusion_weights"]
    assert weights["metadata"] > weights["image"]
    val = fused.journal.val
    assert (val.probs.argmax(axis=1) == fused.val.labels).all()


def test_metadata_that_tells_nothing_is_given_no_say(make_task):
    task = make_task(SHORT.with_overrides({"metadata": "late"}))
    rng = np.random.default_rng(0)
    blank = [
        replace(record, age=None, sex=None, localization=None) for record in task.train.records
    ]
    train = LabelledPart(tuple(blank), task.train.images, task.train.labels, task.train.group_ids)
    task = replace(task, train=train)
    val = softmax(2 * np.eye(3)[task.val.labels] + rng.normal(size=(len(task.val), 3)), axis=1)
    fused = build_fusion(task, val)(task.val, val)
    np.testing.assert_array_equal(fused.argmax(axis=1), val.argmax(axis=1))


def test_without_the_switch_nothing_changes(make_task):
    task = make_task(SHORT)
    probs = np.full((len(task.test), 3), 1 / 3)
    fusion = build_fusion(task, probs)
    assert isinstance(fusion, NoFusion)
    assert fusion(task.test, probs) is probs


def test_never_predicted_is_said_of_the_joint_predictions(make_task):
    """The image's part calls one class alone, the row calls all three."""
    task = make_task(SHORT.with_overrides({"metadata": "late"}))
    called = set(fit_predict(task).probs.argmax(axis=1).tolist())
    assert called == {0, 1, 2}
    assert "never predicted on test" not in task.journal.facts["guards"]
