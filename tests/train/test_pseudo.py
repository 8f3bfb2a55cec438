"""Pseudo-labels: the teacher labels what it is sure of, the student learns from both; no leak."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bench.data.images import find_images
from bench.data.unlabelled import open_unlabelled, refuse_leaks
from bench.dataset import Record, UnlabelledRecord
from bench.errors import DataError, MethodError
from bench.method import Images, Part, Recipe
from bench.train import fit_predict
from bench.train.pseudo_labels import ConcatenatedImages, student_task
from tests.conftest import CLASSES, draw_image

RECIPE = Recipe(image_size=16, epochs=4, batch_size=8, lr=5e-3)
PER_CLASS = 5


def strangers():
    """Images like the small dataset's, whose class the test knows by their names."""
    return [
        Record(image_id=f"NEW_{name}_{number}", label=name)
        for name in CLASSES
        for number in range(PER_CLASS)
    ]


def unlabelled_part():
    images = [cv2.resize(draw_image(record), (16, 16)) for record in strangers()]
    records = tuple(UnlabelledRecord(record.image_id) for record in strangers())
    return Part(records, Images(np.stack(images), np.arange(len(images))))


def test_concatenated_images_are_one_cache_after_the_other():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 9, 4, 4, 3), dtype=np.uint8)
    rows, more = np.array([5, 2, 8]), np.array([1, 7])
    joined = ConcatenatedImages(first, rows, Images(second, more))
    whole = np.concatenate([first[rows], second[more]])
    order = rng.permutation(5)
    assert len(joined) == 5
    assert np.array_equal(joined.take(order), whole[order])


def test_the_teacher_labels_what_it_is_sure_of_and_the_student_gets_it(make_task):
    recipe = RECIPE.with_overrides({"unlabelled": "0" * 16, "pseudo_threshold": 0.6})
    task = replace(make_task(recipe), unlabelled=unlabelled_part())
    asked = []

    def fit(teacher):
        asked.append(teacher)
        return fit_predict(teacher)

    student = student_task(task, fit)
    (teacher,) = asked
    assert teacher.train is task.train
    assert teacher.recipe == RECIPE.with_overrides({"temperature": True, "pseudo_threshold": 0.6})
    assert set(teacher.test.image_ids) == {record.image_id for record in strangers()}
    more = len(student.train) - len(task.train)
    counts = task.journal.facts["pseudo_labels"]
    assert more == sum(counts[name] for name in CLASSES) > 0
    truth = [name.split("_")[1] for name in student.train.image_ids[-more:]]
    given = [CLASSES[label] for label in student.train.labels[-more:]]
    assert np.mean(np.array(truth) == np.array(given)) > 0.8
    assert len(student.train.images) == len(student.train.group_ids) == len(student.train)
    assert student.val is task.val
    assert student.test is task.test
    predictions = fit_predict(task)
    assert list(predictions.image_ids) == list(task.test.image_ids)
    assert any("unlabelled images, with pseudo-labels" in note for note in task.journal.notes)
    again = replace(task, folder=task.folder.with_name("again"))
    assert np.array_equal(fit_predict(again).probs, predictions.probs)


def test_a_hash_without_images_is_refused(make_task):
    with pytest.raises(MethodError, match="run --unlabelled DIR"):
        fit_predict(make_task(RECIPE.with_overrides({"unlabelled": "0" * 16})))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    for record in strangers()[:4]:
        cv2.imwrite(str(folder / f"{record.image_id}.png"), draw_image(record)[..., ::-1])
    return folder


def test_a_folder_apart_is_taken(folder, small_source):
    asked = small_source.manifest.image_ids.tolist()
    said = refuse_leaks(open_unlabelled(folder), small_source, asked)
    assert said.startswith("4 unlabelled images: no copy of the 60 ")


@pytest.mark.parametrize("way", ["same name", "mirrored", "recompressed"])
def test_a_copy_of_an_asked_image_is_refused_by_name(folder, small_source, way):
    asked = small_source.manifest.image_ids.tolist()
    original = find_images(small_source)[asked[3]]
    image = cv2.imread(str(original))
    if way == "same name":
        cv2.imwrite(str(folder / original.name), 255 - image)
    elif way == "mirrored":
        cv2.imwrite(str(folder / "copy.png"), image[:, ::-1])
    else:
        cv2.imwrite(str(folder / "copy.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    with pytest.raises(DataError, match=f"{asked[3]}.*remove them"):
        refuse_leaks(open_unlabelled(folder), small_source, asked)
    others = [name for name in asked if name != asked[3]]
    assert refuse_leaks(open_unlabelled(folder), small_source, others)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_unlabelled(tmp_path / "x")
    with pytest.raises(DataError, match="no JPEG or PNG"):
        open_unlabelled(tmp_path)
