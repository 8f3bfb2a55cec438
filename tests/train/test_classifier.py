"""A checkpoint predicts by itself; several are an ensemble; images have several forms."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import DataError, ResultsError
from bench.method import Recipe
from bench.train import checkpoint, fit_predict
from bench.train.predictor import load_classifier, load_predictor

RATES = (("a", 1e-3), ("b", 1e-2))


def probs_of(paths, images, *, calibrated=False):
    predictor = load_predictor(paths, calibrated=calibrated)
    return np.stack([prediction.probs for prediction in predictor.predict(images)])


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
    path = task.folder / f"{best}.safetensors"
    assert load_predictor(path).classes == expected.classes
    probs = probs_of(path, files)
    assert np.allclose(probs, expected.for_ids(task.test.image_ids), atol=1e-5)


def test_an_ensemble_is_the_mean_of_its_members(train, small_source):
    paths = [train(name, lr=lr)[0].folder / "best.safetensors" for name, lr in RATES]
    files = sorted(small_source.folder.iterdir())[:5]
    alone = [probs_of(path, files) for path in paths]
    assert np.allclose(probs_of(paths, files), (alone[0] + alone[1]) / 2)
    assert not np.allclose(alone[0], alone[1])


def test_an_ensemble_of_other_classes_is_refused(train):
    path = train("a")[0].folder / "best.safetensors"
    metadata = checkpoint.read_raw_metadata(path) | {"classes": ["nv", "mel", "vasc"]}
    other = path.with_name("other.safetensors")
    checkpoint.save_best(other, load_classifier(path).model, metadata)
    with pytest.raises(ResultsError, match="different classes"):
        load_predictor([path, other])
    with pytest.raises(ResultsError, match="no checkpoint given"):
        load_predictor([])


def test_files_that_are_no_checkpoint_or_no_image_are_named(train, tmp_path):
    task, _ = train("a")
    garbage = tmp_path / "x.safetensors"
    garbage.write_bytes(b"nothing")
    with pytest.raises(ResultsError, match=r"x.safetensors: cannot be read as a checkpoint"):
        load_classifier(garbage)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, garbage)
    with pytest.raises(ResultsError, match="metadata lack classes, recipe, chain, mean, std"):
        load_classifier(garbage)
    with pytest.raises(DataError, match=r"x.safetensors"):
        load_predictor(task.folder / "best.safetensors").predict([garbage])
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((40, 30), np.uint8))
    assert probs_of(task.folder / "best.safetensors", [tmp_path / "grey.png"]).shape == (1, 3)


def test_a_path_a_pil_image_and_an_array_of_one_image_have_the_same_prediction(train, small_source):
    path = train("a")[0].folder / "best.safetensors"
    file = min(small_source.folder.glob("*.png"))
    pixels = np.asarray(Image.open(file).convert("RGB"))
    forms = [file, str(file), Image.open(file), pixels]
    probs = probs_of(path, forms)
    assert probs.shape == (4, 3)
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (probs == probs[0]).all()
    predictor = load_predictor(path, calibrated=False)
    for form in forms:
        (prediction,) = predictor.predict(form)
        assert np.allclose(prediction.probs, probs[0], atol=1e-6)
        assert prediction.label == predictor.classes[prediction.predicted]
        assert prediction.predicted == probs[0].argmax()
    assert predictor.predict([]) == []


def test_a_pil_image_is_turned_and_flattened_as_its_file(train, tmp_path):
    path = train("a")[0].folder / "best.safetensors"
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 30, 4), dtype=np.uint8), "RGBA")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    file = tmp_path / "turned.png"
    probs = probs_of(path, [file, Image.open(file)])
    assert (probs[0] == probs[1]).all()


def test_arrays_of_another_type_or_shape_are_refused_by_position(train):
    predictor = load_predictor(train("a")[0].folder / "best.safetensors")
    good = np.zeros((20, 20, 3), np.uint8)
    wrong = [good.astype(np.float32), good[..., 0], np.zeros((20, 20, 4), np.uint8), good[:0]]
    with pytest.raises(DataError) as raised:
        predictor.predict([good, *wrong])
    for position in (1, 2, 3, 4):
        assert f"image {position} (" in str(raised.value)
    assert "image 0" not in str(raised.value)
    with pytest.raises(DataError, match="more than 8 bits"):
        predictor.predict(Image.new("I", (20, 20)))
