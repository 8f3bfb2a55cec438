"""The page's section on arms says what the report holds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.leaderboard import Arm, ArmReport, ArmRow, Estimate, MetricTable
from bench.report.render import render
from tests.report import boards
from tests.report.reading import read


def report(kind: str) -> ArmReport:
    names = ("clean", "leaky") if kind == "leakage-meter" else ("100%", "50%", "10%")
    table = boards.metric_table("resnet18", boards.row("resnet18").confusion)
    apart = Estimate(0.031, 0.012, 0.049, 1972, "percentile")
    difference = MetricTable(
        dict.fromkeys(boards.METRICS, apart),
        {label: {"recall": replace(apart, value=-0.2, low=-0.3)} for label in boards.CLASSES},
    )
    rows = [
        ArmRow(
            name="resnet18",
            arm=name,
            seeds=(0, 1, 2),
            complete=True,
            table=table,
            difference=difference if at else None,
            by_seed={"macro_f1": (0.02, 0.03, 0.043)},
            over_seeds={"macro_f1": Estimate(0.031, 0.002, 0.06, 3, "t over seeds")},
        )
        for at, name in enumerate(names)
    ]
    arms = [Arm(name, (0, 1), 5716.0, 5388.0, 1972) for name in names]
    return ArmReport(kind, tuple(arms), tuple(rows))


@pytest.fixture(params=["leakage-meter", "learning-curve"])
def board(request):
    made = boards.leaderboard(arms=report(request.param))
    return replace(made, control=request.param == "leakage-meter", tested=(1972, 1972))


def test_every_arm_and_difference_reads_without_script(board):
    page = read(render(board)["index.html"])
    section = page.by_id("arms")
    for arm in board.arms.arms:
        assert arm.name in section.text
    for arm in board.arms.arms[1:]:
        assert f"{arm.name} − {board.arms.arms[0].name}" in section.text  # noqa: RUF001
    assert "+0.031 [0.012, 0.049]" in section.text
    assert "−0.20 [−0.30, 0.05]" in section.text  # noqa: RUF001
    assert (
        "+0.020 (seed 0), +0.030 (seed 1), +0.043 (seed 2), over seeds [0.002, 0.060]."
        in section.text
    )
    assert "trains on 5,716 images" in section.text
    assert "#arms" in str([one.attributes for one in page.one("nav").all("a")])


def test_the_meter_leads_the_page_and_the_curve_leaves_the_ranking(board):
    page = read(render(board)["index.html"])
    headline = page.one("p", "headline").text
    if board.control:
        assert headline == (
            "A second picture of the tested lesion in training moves resnet18’s macro-F1 "  # noqa: RUF001
            "by +0.031 [0.012, 0.049], over seeds [0.002, 0.060]."
        )
    else:
        assert headline.startswith("efficientnet_phase4 is first")
    words = " ".join(one.text for one in page.all("p", "standfirst"))
    assert "Tested on 1,972 images of 1,972 lesions" in words
    assert f"those of the arm {board.arms.arms[0].name}" in words


def test_the_numbers_stand_in_the_json(board):
    arms = json.loads(render(board)["leaderboard.json"])["arms"]
    assert [arm["name"] for arm in arms["arms"]] == [arm.name for arm in board.arms.arms]
    other = arms["rows"][1]
    assert other["difference"]["metrics"]["macro_f1"]["value"] == 0.031
    assert other["by_seed"]["macro_f1"] == [0.02, 0.03, 0.043]
    assert arms["rows"][0]["difference"] is None


def test_a_control_without_arms_says_that_groups_are_divided():
    files = render(boards.leaderboard(control=True))
    page = read(files["index.html"])
    assert "never saw its lesion" not in page.text
    assert "are in two parts of a fold" in page.text
    assert json.loads(files["leaderboard.json"])["arms"] is None
    assert 'id="arms"' not in files["index.html"]
