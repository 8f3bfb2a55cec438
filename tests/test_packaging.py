"""The wheel: everything it needs is inside, and scoring works where torch cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "torchvision", "lightning_fabric"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
"""
SCORING = """
import numpy as np, pandas as pd, bench
assert bench.__file__.startswith(sys.argv[1]), bench.__file__
b = bench.open("groupkfold5")
labels, classes = b.dataset.labels, b.dataset.classes
for name, right in (("good", 6), ("bad", 2)):
    p = np.full((len(labels), 7), 0.1)
    place = np.arange(len(labels))
    p[place, (labels + (place % 10 >= right)) % 7] = 1
    p /= p.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(p, columns=[f"p_{name}" for name in classes])
    b.submit(frame.assign(image_id=b.dataset.image_ids), name, "r", pretraining_data="none")
assert b.score("r").rows[0].name == "good"
difference = b.compare("good", "bad", results="r").pairs[0].differences.metrics["accuracy"]
assert difference.low > 0
assert b.report("r").page.is_file()
assert bench.evaluate(labels, p, b.roles.group_ids, classes)["accuracy"].value < 0.5
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, as an installer lays it into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("hatchling")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def python(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with the wheel's content ahead of the checkout, started in another folder."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_protocols_rows_baselines_templates_and_the_command(installed):
    data = installed / "bench" / "_data"
    for part in ("protocols", "baselines", "reports"):
        own = {
            path.relative_to(ROOT / part)
            for path in (ROOT / part).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert own == {
            path.relative_to(data / part) for path in (data / part).rglob("*") if path.is_file()
        }
    assert (installed / "bench" / "run" / "templates" / "model.py.txt").is_file()
    (metadata,) = installed.glob("*.dist-info")
    assert "lesion-bench = bench.cli.main:main" in (metadata / "entry_points.txt").read_text()
    requires = (metadata / "METADATA").read_text()
    core = [line for line in requires.splitlines() if line.startswith("Requires-Dist: torch")]
    assert core
    assert all("extra ==" in line for line in core)


def test_evaluate_score_submit_compare_and_report_need_no_torch(installed, tmp_path):
    done = python(installed, tmp_path, "-c", WITHOUT_TORCH + SCORING, str(installed))
    assert done.returncode == 0, done.stderr


def test_commands_and_jobs_of_an_installed_package_run_outside_the_checkout(installed, tmp_path):
    words = ("-m", "bench", "run", "--protocol", "holdout", "--method", "custom_cnn",
             "--set", "epochs=1", "--image-size", "16", "--device", "cpu")  # fmt: skip
    done = python(installed, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "leaderboard: results/holdout/synthetic/leaderboard/index.html" in done.stdout
    (record,) = (tmp_path / "results").rglob("record.json")
    assert str(ROOT) not in record.read_text()
    listed = python(installed, tmp_path, "-m", "bench", "method", "list")
    assert "efficientnet_phase4" in listed.stdout
