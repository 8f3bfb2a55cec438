"""`run --unlabelled` from the command line: pseudo-labels in the record, a leak refused."""

import json
import shutil

import cv2
import numpy as np

from bench.data.synthetic import open_synthetic
from tests.cli.test_bad_input import bench, refused

ASKED = ("run", "--protocol", "groupkfold5", "--method", "custom_cnn", "--folds", "0")
SMALL = ("--set", "epochs=1", "--set", "pseudo_threshold=0", "--image-size", "16")


def test_a_folder_teaches_and_one_with_a_test_image_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "further"
    folder.mkdir()
    for number in range(6):
        blob = cv2.resize(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8), (128, 96))
        cv2.imwrite(str(folder / f"new{number}.png"), blob)
    done = bench(*ASKED, *SMALL, "--unlabelled", "further", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 unlabelled images: no copy of the 1253 " in done.stderr
    (path,) = (tmp_path / "results").glob("groupkfold5/synthetic/*/seed0/fold0/record.json")
    record = json.loads(path.read_text())
    assert record["facts"]["pseudo_labels"]["unlabelled"] == 6
    assert record["job"]["variant"]["unlabelled"] == record["job"]["recipe"]["unlabelled"]
    assert "--unlabelled further" in record["command"]
    tested = sorted((open_synthetic().folder / "images").iterdir())[7]
    shutil.copy(tested, folder / "innocent.png")
    again = bench(*ASKED, *SMALL, "--unlabelled", "further", cwd=tmp_path)
    refused(again, "1 images are copies", f"innocent is {tested.stem}", "remove them")
    deaf = ("run", "--protocol", "groupkfold5", "--method", "metadata_logistic")
    refused(bench(*deaf, "--unlabelled", "further", cwd=tmp_path), "metadata_logistic trains")
    missing = bench(*ASKED, "--unlabelled", "nowhere", cwd=tmp_path)
    refused(missing, "--unlabelled nowhere: no such folder")
