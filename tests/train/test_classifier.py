"""A best checkpoint needs nothing else, and the folds of a row make an ensemble."""

import cv2
import numpy as np
import pytest
import torch

from bench.errors import DataError, ResultsError
from bench.method import Recipe
from bench.train import fit_predict
from bench.train.predictor import ensemble, load_classifier, predict_files

RATES = (("a", 1e-3), ("b", 1e-2))


@pytest.fixture
def train(make_task):
    def run(folder, **switches):
        recipe = Recipe(image_size=16, epochs=2, batch_size=8, lr=5e-3).with_overrides(switches)
        task = make_task(recipe, folder)
        return task, fit_predict(task)

    return run


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"ema_decay": 0.5, "tta": "flips", "temperature": True},
        {"loss": "ldam", "model": "resnet18"},
        {"model": "swin_tiny_patch4_window7_224"},
    ],
)
def test_a_checkpoint_alone_predicts_what_its_training_predicted(train, small_source, switches):
    task, expected = train("job", **switches)
    best = "best_ema" if task.journal.facts["selected_weights"] == "ema" else "best"
    files = [small_source.folder / f"{name}.png" for name in task.test.image_ids]
    found = predict_files([task.folder / f"{best}.safetensors"], files)
    assert found.classes == expected.classes
    assert np.allclose(found.for_ids(expected.image_ids), expected.probs, atol=1e-5)


def test_an_ensemble_is_the_mean_of_its_members(train, small_source):
    paths = [
        train(name, lr=lr)[0].folder / "best.safetensors" for name, lr in (("a", 1e-3), ("b", 1e-2))
    ]
    files = sorted(small_source.folder.iterdir())[:5]
    alone = [predict_files([path], files).probs for path in paths]
    assert np.allclose(predict_files(paths, files).probs, (alone[0] + alone[1]) / 2)
    assert not np.allclose(alone[0], alone[1])


def test_an_ensemble_of_other_classes_is_refused(train):
    from dataclasses import replace

    one = load_classifier(train("a")[0].folder / "best.safetensors")
    other = replace(one, classes=("nv", "mel", "vasc"))
    with pytest.raises(ResultsError, match="different classes"):
        ensemble([one, other], [])


def test_files_that_are_no_checkpoint_or_no_image_are_named(train, tmp_path):
    task, _ = train("a")
    garbage = tmp_path / "x.safetensors"
    garbage.write_bytes(b"nothing")
    with pytest.raises(ResultsError, match=r"x.safetensors: cannot be read as a checkpoint"):
        load_classifier(garbage)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, garbage)
    with pytest.raises(ResultsError, match="header lacks classes, recipe, mean, std"):
        load_classifier(garbage)
    with pytest.raises(DataError, match=r"x.safetensors"):
        predict_files([task.folder / "best.safetensors"], [garbage])
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((40, 30), np.uint8))
    probs = predict_files([task.folder / "best.safetensors"], [tmp_path / "grey.png"]).probs
    assert probs.shape == (1, 3)
