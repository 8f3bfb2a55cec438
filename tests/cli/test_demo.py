"""The page of `demo` in a real browser, and the Space's files in a process of their own.

Skips where gradio is absent (requirements-demo.txt).
"""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest
from click.testing import CliRunner

from bench.errors import ResultsError
from bench.method import Recipe
from bench.settings import DISCLAIMER
from bench.train import fit_predict
from tests.conftest import CLASSES, ROOT
from tests.train.conftest import make_task

pytestmark = pytest.mark.skipif(
    find_spec("gradio") is None, reason="gradio is in requirements-demo.txt"
)
__all__ = ["make_task"]
CHROMIUM = which("chromium") or which("chromium-browser")
EXAMPLE = min((ROOT / "docs" / "examples" / "images").iterdir())


@pytest.fixture
def checkpoints(make_task):
    made = []
    for name in ("a", "b"):
        task = make_task(Recipe(image_size=16, epochs=1, batch_size=8, lr=5e-3), name)
        fit_predict(task)
        made.append(task.folder / "best.safetensors")
    return made


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(address, server):
    """Until the page answers."""
    ends = time.monotonic() + 120
    while True:
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() < ends, "the page does not answer"
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own server's
                return
        except OSError:
            time.sleep(0.3)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium")
def test_an_uploaded_image_is_classified_without_any_request_elsewhere(checkpoints):
    sync = pytest.importorskip("playwright.sync_api")
    given = [word for path in checkpoints for word in ("--checkpoint", str(path))]
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "bench.py"), "demo", *given, "--port", str(port)]
    server = subprocess.Popen(command)
    try:
        wait_for(address, server)
        with sync.sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            tab = browser.new_page()
            asked: list[str] = []
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(address)
            tab.get_by_text(DISCLAIMER).wait_for(timeout=60_000)
            assert tab.get_by_label("Model").input_value() == "a-best.safetensors"
            tab.locator("input[type=file]").first.set_input_files(str(EXAMPLE))
            tab.locator("img").first.wait_for(timeout=60_000)
            tab.get_by_role("button", name="Classify").click()
            tab.get_by_text("trained on").wait_for(timeout=60_000)
            text = tab.inner_text("body")
            assert all(name in text for name in CLASSES)
            assert "column 0, seed 0" in text
            assert tab.get_by_role("button", name="Download").count() == 1
            assert tab.get_by_role("button", name="Share").count() == 0, "it would upload"
            elsewhere = [u for u in asked if not u.startswith((address, "data:", "blob:"))]
            assert elsewhere == []
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_the_space_runs_by_itself_and_needs_only_what_it_names(checkpoints, tmp_path):
    from bench.cli.main import cli

    space = tmp_path / "space"
    words = ["demo", "--export-space", space, "--licence", "cc-by-nc-4.0"]
    words += [word for path in checkpoints for word in ("--checkpoint", path)]
    asked = list(map(str, words))
    CliRunner().invoke(cli, asked, catch_exceptions=False, standalone_mode=False)
    card = (space / "README.md").read_text()
    assert DISCLAIMER in card
    assert "license: cc-by-nc-4.0" in card
    assert "sdk: gradio" in card
    named = {line.partition("==")[0] for line in (space / "requirements.txt").read_text().split()}
    known, needed = packages_distributions(), needed_by(named)
    absent = [top for top, dists in known.items() if needed.isdisjoint(map(plain_name, dists))]
    run = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, json.dumps(absent)],
        cwd=space, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    total, side, where = json.loads(run.stdout.splitlines()[-1])
    assert total == pytest.approx(1, abs=1e-5)
    assert side > 0
    assert Path(where[0]).resolve() == (space / "bench").resolve()


PROGRAM = """
import json, sys
from pathlib import Path
absent = set(json.loads(sys.argv[1]))
from importlib.machinery import PathFinder
class Needed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in absent:
            return PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Needed if each is PathFinder else each for each in sys.meta_path]
sys.path.insert(0, ".")
import bench
from bench.workflows.demo import folder_page, asked
from bench.data.images import decode
from bench.train.predictor import load_predictor
blocks = folder_page(Path("."))
panel = load_predictor(sorted(Path("models/a-best.safetensors").iterdir()))
shares, heat, said = asked(panel, decode(next(Path("examples").iterdir()).read_bytes()))
print(json.dumps([sum(shares.values()), heat.size[0], list(bench.__path__)]))
"""


def plain_name(name):
    return name.lower().replace("_", "-").replace(".", "-")


def needed_by(names):
    """These packages and all that they ask for, by name."""
    from packaging.requirements import Requirement

    found, open_ones = set(), list(names)
    while open_ones:
        name = plain_name(open_ones.pop())
        if name in found:
            continue
        found.add(name)
        try:
            asks = requires(name) or []
        except PackageNotFoundError:
            continue
        parsed = map(Requirement, asks)
        open_ones += [r.name for r in parsed if r.marker is None or r.marker.evaluate()]
    return found


def test_a_space_without_a_known_licence_or_in_a_full_folder_is_refused(tmp_path):
    from bench.workflows.demo import export_space, licence_of

    assert licence_of(["ham10000", "ham10000"], None) == "cc-by-nc-sa-4.0"
    with pytest.raises(ResultsError, match="say it in the hub's words"):
        licence_of(["ham10000", "mine"], None)
    (tmp_path / "there").write_text("")
    with pytest.raises(ResultsError, match="is not empty"):
        export_space(tmp_path, {}, {}, "mit")
