"""Other units, subsets, and what a leakage meter found: beside the leaderboard's own numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.leaderboard import (
    Arm,
    ArmReport,
    ArmRow,
    Estimate,
    IntervalFacts,
    Leaderboard,
    MetricTable,
)
from bench.report.arms import leak
from bench.report.leaderboard_page import page as page_of
from bench.report.render import render, render_page, write
from bench.run.published import leakage_meters
from bench.score.row_report import row_reports
from tests.report import boards
from tests.report.reading import read
from tests.report.reported_rows import dressed
from tests.report.test_browser import CHROMIUM, Visit, browser  # noqa: F401 - a fixture
from tests.score.cohorts import World


@pytest.fixture(scope="module")
def world():
    world = World(lesions=320, resamples=100)
    world.dataset = dressed(world.dataset)
    return world


@pytest.fixture(scope="module")
def rows(world):
    return [world.row("good", skill=2.0), world.row("poor", skill=0.4), *world.references()]


@pytest.fixture(scope="module")
def looks(world, rows):
    return row_reports(world.protocol, world.dataset, world.roles, rows)


@pytest.fixture(scope="module")
def page(world, rows, looks):
    return read(render(world.score(*rows), closeups=looks)["index.html"])


def test_every_unit_of_the_data_can_be_switched_to(page, looks):
    section = page.by_id("intervals")
    for unit in ("images", "lesion", "patient"):
        assert section.by_id(f"unit-{unit}").all("details", "panel")
    for unit in looks["good"].units:
        value = unit.table.metrics["macro_f1"].value
        assert f"{value:.3f}" in section.by_id(f"{unit.unit}-0").text
    assert "Reference rows are scored by image only" in section.text


def test_subsets_stand_by_attribute_and_metric(page, looks):
    section = page.by_id("subsets")
    labels = [one.attributes["data-label"] for one in section.all("details", "panel")]
    assert {"Age in years", "Sex", "Body site", "Macro-F1", "Malignancy: AUC"} <= set(labels)
    women = next(one for one in looks["poor"].subgroups if one.value == "female")
    assert f"{women.images:,} images" in section.text
    assert f"{women.metrics['macro_f1'].value:.2f}" in section.text


def test_without_a_closer_look_there_is_one_unit_and_no_subset(world, rows):
    text = render(world.score(*rows))["index.html"]
    assert "unit-images" in text
    assert 'id="subsets"' not in text
    assert "unit-lesion" not in text


def meter_file(name: str, roster: str) -> str:
    """leaderboard.json of a small leakage meter: a row in both arms, and one in the first only."""

    def table(value: float) -> MetricTable:
        return MetricTable({"macro_f1": Estimate(value, value - 0.1, value + 0.1, 500, "bca")}, {})

    over_seeds = table(0.05).metrics
    rows = (
        ArmRow(name, "clean", (0,), True, table(0.5), None),
        ArmRow(name, "leaky", (0,), True, table(0.6), table(0.1), {}, over_seeds),
        ArmRow("half", "clean", (0,), True, table(0.5), None),
    )
    arms = (Arm("clean", (0,), 90.0, 80.0, 50), Arm("leaky", (1,), 90.0, 80.0, 50))
    board = boards.leaderboard(
        rows=(),
        comparisons=(),
        dataset=boards.dataset(
            roster_sha256=roster, images_by_class={"mel": 50}, groups_by_class={}
        ),
        mean_ranks={},
        tie_groups=(),
        interval=IntervalFacts(0.95, 100, "lesion", "bca"),
        arms=ArmReport("leakage-meter", arms, rows),
    )
    return board.to_json()


def test_a_leakage_meter_on_the_same_data_is_told_and_linked(world, rows, tmp_path):
    board = world.score(*rows)
    roster = board.dataset.roster_sha256
    here = tmp_path / "groupkfold5" / "drawn" / "leaderboard"
    for protocol, sha in (("leakage-meter", roster), ("other", "0" * 64)):
        folder = tmp_path / protocol / "drawn" / "leaderboard"
        folder.mkdir(parents=True)
        (folder / "leaderboard.json").write_text(meter_file("<i>cnn", sha))
    here.mkdir(parents=True)
    (here / "leaderboard.json").write_text("{")
    (one,) = leakage_meters(here, roster)
    assert (here / one[0]).resolve() == (
        tmp_path / "leakage-meter" / "drawn" / "leaderboard" / "index.html"
    )
    section = read(render(board, meter=leak(*one))["index.html"]).by_id("leak")
    assert "<i>cnn" in section.text
    assert "+0.10 [0.00, 0.20]" in section.text
    assert "over seeds [−0.05, 0.15]" in section.text  # noqa: RUF001
    assert "half" not in section.text
    assert section.one("a").attributes["href"] == one[0]
    meter = Leaderboard.from_json(meter_file("x", roster))
    assert leak("", replace(meter, arms=replace(meter.arms, rows=()))) is None


@pytest.fixture(scope="module")
def site(world, rows, looks, tmp_path_factory):
    where = tmp_path_factory.mktemp("sliced")
    write(render(world.score(*rows), closeups=looks), where)
    return where


def test_fifty_methods_with_units_and_subsets_stay_below_five_megabytes(world, rows, looks):
    board = world.score(*rows)
    names = [f"a_method_of_the_longer_kind@{at:08x}" for at in range(50)]
    methods = [replace(board.rows[at % 2], name=name) for at, name in enumerate(names)]
    more = {f"further_{at}": one for at, one in enumerate(board.rows[0].table.metrics.values())}
    methods = [
        replace(row, table=replace(row.table, metrics={**row.table.metrics, **more}))
        for row in methods
    ]
    many = replace(
        board,
        rows=(*methods, *board.rows[2:]),
        metrics=(*board.metrics, *list(more)[: 20 - len(board.metrics)]),
        tie_groups=(),
        mean_ranks={},
    )
    every = {name: looks[("good", "poor")[at % 2]] for at, name in enumerate(names)}
    text = render_page("leaderboard.html.j2", page=page_of(many, (), every), study="", home="")
    assert len(text.encode()) < 5_000_000
    assert text.count("a_method_of_the_longer_kind@00000031") > 20


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")


@needs_chromium
def test_another_unit_shows_the_same_metric(browser, site):  # noqa: F811
    with Visit(browser, site) as visit:
        section = visit.page.locator("#intervals")
        section.locator("select:visible").nth(1).select_option(label="Accuracy")
        section.get_by_label("Unit").select_option(label="Patients")
        assert section.locator("table:visible").count() == 1
        caption = section.locator("table:visible caption").inner_text()
        assert caption.startswith("Accuracy of every row")
        assert caption.endswith("Patients")
        assert visit.complaints == []


@needs_chromium
def test_a_subset_is_chosen_and_sorted_by(browser, site):  # noqa: F811
    with Visit(browser, site) as visit:
        section = visit.page.locator("#subsets")
        section.get_by_label("Subgroups by").select_option(label="Sex")
        table = section.locator("table:visible")
        assert table.count() == 1
        table.get_by_role("button", name="female").click()
        assert table.locator("tbody a.name").all_inner_texts() == ["good", "poor"]
        table.get_by_role("button", name="female").click()
        assert table.locator("tbody a.name").all_inner_texts() == ["poor", "good"]


@needs_chromium
def test_from_the_leaderboard_down_to_the_image_and_back(browser, site):  # noqa: F811
    with Visit(browser, site) as visit:
        visit.page.get_by_role("button", name="Dark page").click()
        visit.page.get_by_role("link", name="details of poor").click()
        assert visit.page.url.endswith("methods/poor.html")
        assert visit.page.get_by_role("button", name="Light page").is_visible()
        visit.page.get_by_role("navigation").get_by_role("link", name="Highest loss").click()
        assert visit.page.locator("#highest-loss tbody").first.is_visible()
        visit.page.get_by_role("link", name="The whole leaderboard").click()
        assert visit.page.url.endswith("index.html")
        assert visit.complaints == []
        assert {one.split(":")[0] for one in visit.asked} == {"file"}


@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_a_leaderboard_of_slices(browser, site, theme):  # noqa: F811
    from axe_playwright_python.sync_playwright import Axe

    with Visit(browser, site, color_scheme=theme) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found = Axe().run(visit.page, options={"resultTypes": ["violations"]})
        assert found.violations_count == 0, found.generate_report()
