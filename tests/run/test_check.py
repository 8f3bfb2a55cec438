"""`method check`: sound methods are green; each broken one fails the check meant for it.

    python -m pytest tests/run/test_check.py -m slow -s > docs/verification/check.txt

checks the large baselines, too.
"""

from __future__ import annotations

import time

import pytest

from bench.data.synthetic import open_synthetic
from bench.run.check.check import Checkup
from bench.run.check.probe import OUTCOME, watch
from bench.run.check.verdicts import CHECKS
from bench.run.registry import method_names
from bench.settings import BASELINES
from tests.run.broken import BROKEN, SOUND

ALSO = {
    "reads labels where the data lies": {"learns nothing from permuted labels"},
}
"""What else a fault breaks by its nature."""


@pytest.fixture(scope="module")
def source():
    """The synthetic set, proven once."""
    return open_synthetic()


@pytest.fixture
def checked(tmp_path, monkeypatch, source):
    """What gives the verdicts on a method, by check."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))

    def check(method, **limits):
        checkup = Checkup(method, BASELINES, tmp_path / "check", **limits)
        return {verdict.check: verdict for verdict in checkup.verdicts(source)}

    return check


def failed(verdicts):
    return {name for name, verdict in verdicts.items() if verdict.passed is False}


def test_a_sound_method_is_green_throughout(tmp_path, checked):
    file = tmp_path / "sound.py"
    file.write_text(SOUND)
    verdicts = checked(str(file))
    assert list(verdicts) == ["imports", *CHECKS]
    assert {name: v.message for name, v in verdicts.items() if v.passed is not True} == {}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_broken_method_fails_the_check_meant_for_it_and_no_other(tmp_path, checked, wrong):
    meant, source = BROKEN[wrong]
    file = tmp_path / "broken.py"
    file.write_text(source)
    verdicts = checked(str(file), seconds=12, memory_gib=1.5)
    assert failed(verdicts) == {meant} | ALSO.get(wrong, set())
    assert ";" in verdicts[meant].message or meant == "imports"


def test_a_probe_that_ends_just_before_the_signal_counts_as_finished(tmp_path):
    file = tmp_path / "sound.py"
    file.write_text(SOUND)
    probe = Checkup(str(file), BASELINES, tmp_path / "check")._probe("import")

    def ended() -> bool:
        while not (probe.folder / OUTCOME).exists():
            time.sleep(0.05)
        time.sleep(1)  # the process still ends, and the server it was forked from reaps it
        return True

    assert watch(probe, ended).ok


LARGE = {path.stem for path in BASELINES.glob("*.py")} - {"custom_cnn"}
"""Networks whose fourteen trainings take a core for minutes."""
SECONDS = 300


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[pytest.mark.slow, pytest.mark.timeout(15 * SECONDS)] if name in LARGE else [],
        )
        for name in method_names(BASELINES)
    ],
)
def test_every_baseline_and_example_is_green(checked, name):
    verdicts = checked(name, seconds=SECONDS)
    for verdict in verdicts.values():
        print(f"{name:20}  {verdict.check:36}  {verdict.message}")
    assert {name: v.message for name, v in verdicts.items() if v.passed is not True} == {}
