"""A row's own page: what stands on it, that hostile names do no harm, and how it opens."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.leaderboard import RowFacts
from bench.leaderboard.text import metric
from bench.report.format import name as written
from bench.report.render import page_names, render, write
from bench.report.row_page import Pictured, learning_graphs, recipe
from bench.report.tables import cell
from bench.report.text import plural
from bench.score.leaderboard import score
from bench.score.row_report import row_reports
from tests.report import boards, hostile, reported_rows
from tests.report.reading import read
from tests.report.test_browser import CHROMIUM, browser  # noqa: F401 - a fixture
from tests.score.cohorts import CLASSES


@pytest.fixture(scope="module")
def world():
    return reported_rows.world()


@pytest.fixture(scope="module")
def rows(world):
    return reported_rows.rows(world)


@pytest.fixture(scope="module")
def looks(world, rows):
    return reported_rows.looks(world, rows)


@pytest.fixture(scope="module")
def board(world, rows):
    return reported_rows.board(world, rows)


@pytest.fixture(scope="module")
def made(board, looks):
    return render(board, (), looks)


@pytest.fixture(scope="module")
def page(made, board):
    return read(made[pages_of(board)["Plain"]])


def pages_of(board):
    names = page_names([row.name for row in board.rows if row.kind != "reference"])
    return {row: f"methods/{name}.html" for row, name in names.items()}


def test_every_row_but_references_has_a_page_that_the_leaderboard_links(made, board):
    links = [a.attributes["href"] for a in read(made["index.html"]).all("a", "closer")]
    assert sorted(links) == sorted(pages_of(board).values())
    assert set(links) <= set(made)
    told = json.loads(made["leaderboard.json"])
    assert {row["name"]: row["page"] for row in told["methods"] if row["page"]} == pages_of(board)


def test_without_a_closer_look_there_is_no_page_and_no_link(board):
    files = render(board)
    assert not [name for name in files if name.startswith("methods/")]
    assert not read(files["index.html"]).all("a", "closer")


def test_all_units_stand_beside_images(page, looks):
    heads = [one.text for one in page.by_id("units").one("thead").all("th")]
    assert heads == ["Metric", "Images640 images", "Lesions320 items", "Patients320 items"]
    assert "with several diagnoses counts once for each" in page.by_id("numbers").text
    lesions = looks["Plain"].units[0].table.metrics["macro_f1"]
    assert f"{lesions.value:.3f}" in page.by_id("units").text


def test_joined_duplicates_say_why_there_are_more_lesions_than_groups(board, looks):
    look = looks["Plain"]
    for groups, told in ((310, ["320 lesion ids make 310 groups"]), (320, [])):
        facts = replace(board.dataset, unit="lesion", groups=groups)
        pages = render(replace(board, dataset=facts), (), {"Plain": look})
        text = read(pages[pages_of(board)["Plain"]]).by_id("numbers").text
        assert re.findall(r"\S+ lesion ids make [^,]*", text) == told


def test_operating_points_say_what_val_promised(page, looks):
    text = page.by_id("operating").text
    assert "malignantval: 95% sensitivity" in text
    point = looks["Plain"].operating[2]
    assert (point.aim, point.percent, point.target) == ("sensitivity", 95, "malignant")
    assert f"{point.specificity.value:.3f}" in text


def test_without_val_there_is_neither_threshold_nor_temperature(made, board):
    text = read(made[pages_of(board)["blind"]]).text
    assert "No operating points" in text
    assert "no temperature could be fitted" in text


def test_a_cost_matrix_gives_its_numbers(page, looks):
    text = page.by_id("extras").text
    assert metric("cost_aware").title in text
    extras = looks["Plain"].extras
    assert extras["cost_aware"].value <= extras["cost"].value


def test_small_subgroups_are_shown_and_nothing_said_of_them(page):
    young = [row for row in page.by_id("by-age").one("tbody").all("tr") if "0 to 19" in row.text]
    assert "30 patients" in young[0].text
    assert all("too few groups" in cell.text for cell in young[0].all("td"))
    assert "Source: not in the metadata" in page.by_id("subgroups").text


def test_learning_failures_recipe_and_command_stand_there(page):
    assert len(page.by_id("learning").all("figure")) == 1
    assert len(page.by_id("learning").all("polyline")) == 3
    assert "CUDA out of memory" in page.text
    assert "python bench.py run --method plain" in page.by_id("reproduce").text
    assert "abc123" in page.by_id("reproduce").text
    assert "0.001" in page.by_id("recipe").text
    assert "100 resamples" in page.by_id("methods").text


def test_a_shares_interval_is_told_on_hover(page, looks):
    share = looks["Plain"].calls[0][0]
    cell = page.by_id("confusion").one("tbody").one("td")
    assert f"; share {share.value:.2f} [" in cell.attributes["title"]
    assert "interval, n = 160" in cell.attributes["title"]


def test_every_curve_has_its_band_and_the_area_of_the_scores_it_is_drawn_over(page, board, looks):
    look = looks["Plain"]
    tables = (*board.rows[0].table.per_class.values(), look.malignant.per_class["malignant"])
    for panel, which, key in (("curves-1", "AUC", "auc_pooled"), ("curves-2", "AP", "ap_pooled")):
        figures = page.by_id(panel).all("figure")
        assert len(figures) == len(look.ranking) == len(CLASSES) + 1
        assert all(len(one.all("polygon", "band")) == 1 for one in figures)
        headings = {one.one("strong").text for one in figures}
        for label, table in zip((*CLASSES, "malignant"), tables, strict=True):
            shown = cell(table[key], metric(key), board.interval)
            told = (label, f"pooled {which} {shown.text}", *shown.marks)
            assert ", ".join(told) in headings
    assert "pooled over all folds" in page.by_id("curves").text


def test_the_area_of_a_curve_bears_its_marks(board, looks):
    plain = board.rows[0]
    by_class = {
        label: {
            key: replace(one, marks=("few lesions",)) if key == "auc_pooled" else one
            for key, one in table.items()
        }
        for label, table in plain.table.per_class.items()
    }
    marked = replace(plain, table=replace(plain.table, per_class=by_class))
    page = read(
        render(replace(board, rows=(marked, *board.rows[1:])), (), looks)[pages_of(board)["Plain"]]
    )
    headings = [one.text for one in page.by_id("curves-1").all("strong")]
    assert sum(one.endswith("], few lesions") for one in headings) == len(CLASSES)


def test_the_hardest_lesions_stand_with_all_their_images(page, looks):
    lesions = page.by_id("highest-loss").all("tbody")
    assert len(lesions) == len(looks["Plain"].hardest) == 12
    for shown, lesion in zip(lesions, looks["Plain"].hardest, strict=True):
        assert lesion.lesion_id in shown.text
        assert shown.one("th").attributes["rowspan"] == str(len(lesion.images))
        for line, image in zip(shown.all("tr"), lesion.images, strict=True):
            assert image.image_id in line.text
            assert f"{image.loss:.2f}" in line.text
    assert "report --with-images" in page.by_id("highest-loss").text
    assert not page.all("img")


def test_pictures_stand_in_the_page_where_they_are_given(board, looks):
    one = looks["Plain"].hardest[0].images[0].image_id
    pictures = {"Plain": {one: Pictured(b"image", b"cam")}}
    files = render(board, (), looks, pictures=pictures)
    shown = read(files[pages_of(board)["Plain"]]).by_id("highest-loss").all("img")
    sources = [img.attributes["src"] for img in shown]
    assert sources == ["data:image/jpeg;base64,aW1hZ2U=", "data:image/jpeg;base64,Y2Ft"]
    assert all(one in img.attributes["alt"] for img in shown)
    assert "<img" not in files[pages_of(board)["blind"]]


def test_how_to_compare_the_hashes_is_told(page):
    told = [one.text for one in page.by_id("reproduce").all("code")]
    assert told[1] == (
        "find results/drawn3/drawn/Plain -name predictions.parquet -exec sha256sum {} +"
    )


def test_guards_that_spoke_stand_on_the_page_and_as_a_mark_in_the_leaderboard(page, made, board):
    assert "it holds 90% of its start" in page.by_id("warnings").text
    marked = [one for one in read(made["index.html"]).all("span", "badge") if "warning" in one.text]
    assert {one.text for one in marked} == {"1 training warning"}
    assert {one.attributes["title"] for one in marked} == {"it holds 90% of its start."}
    told = {row["name"]: row["guards"] for row in json.loads(made["leaderboard.json"])["methods"]}
    assert told["Plain"] == {"lagging average": "it holds 90% of its start"}
    assert told["blind"] is None
    assert "No checks" in read(made[pages_of(board)["blind"]]).by_id("warnings").text


@pytest.mark.parametrize(
    ("facts", "learning", "guards", "recipe"),
    [
        (
            RowFacts(cost={"epochs": 8.0}),
            "history.csv is missing",
            "the records do not contain them",
            "Every option",
        ),
        (RowFacts(cost={"jobs": 5.0}), "own code", "own code", "own code"),
        (RowFacts(members=("a", "b")), "ensemble", "nothing was trained", "ensemble"),
    ],
    ids=["engine", "whole", "ensemble"],
)
def test_what_a_row_lacks_is_said_with_the_reason(board, looks, facts, learning, guards, recipe):
    switches = {"lr": 0.001, "image_size": 64}
    shown = replace(board.rows[0], facts=replace(facts, recipe=switches))
    rows = (shown, *board.rows[1:])
    page = read(render(replace(board, rows=rows), (), looks)[pages_of(board)[shown.name]])
    assert learning in page.by_id("learning").text
    assert guards in page.by_id("warnings").text
    assert recipe in page.by_id("recipe").text
    assert not page.by_id("learning").all("figure")


def test_some_histories_are_told_from_all(board, looks):
    plain = next(row for row in board.rows if row.name == "Plain")
    slot, table = next(iter(plain.facts.history.items()))
    few = replace(plain, facts=replace(plain.facts, history={slot: table}))
    rows = tuple(few if row is plain else row for row in board.rows)
    page = read(render(replace(board, rows=rows), (), looks)[pages_of(board)["Plain"]])
    assert "1 training kept a history" in page.by_id("learning").text


def test_of_many_trainings_a_stroke_and_a_word_stand_for_each_seed():
    table = {"epoch": (1.0, 2.0), "val_loss": (1.0, 0.5)}
    history = {f"seed {seed} fold {fold}": table for seed in range(3) for fold in range(5)}
    row = replace(boards.row("own"), facts=RowFacts(history=history))
    (drawn,) = learning_graphs(row)
    assert len(drawn.lines) == 15
    told = [line.label for line in drawn.lines if line.label]
    assert told == ["seed 0, 5 folds", "seed 1, 5 folds", "seed 2, 5 folds"]
    assert len({line.kind for line in drawn.lines}) == 3


def test_a_method_that_trains_itself_shows_no_switch_that_it_may_not_read():
    facts = RowFacts(recipe={"lr": 0.001, "image_size": 64, "optimizer": "sgd"})
    row = replace(boards.row("own"), facts=facts)
    assert recipe(row) == (("image_size", "64"), ("optimizer", "sgd"))


def test_guards_that_watched_in_silence_are_told(board, looks):
    rows = [
        replace(row, facts=replace(row.facts, guards={})) if row.name == "Plain" else row
        for row in board.rows
    ]
    files = render(replace(board, rows=tuple(rows)), (), looks)
    assert "gave no warning" in read(files[pages_of(board)["Plain"]]).by_id("warnings").text
    assert "guard" not in files["index.html"]


def test_a_row_without_a_finished_fold_is_missing_visibly(made):
    assert "never has no finished fold: seed0/fold0 failed" in read(made["index.html"]).text
    assert json.loads(made["leaderboard.json"])["absent"] == {
        "never": "seed0/fold0 failed: no such model"
    }


def test_an_incomplete_row_is_looked_at_on_what_it_has(made, board, looks):
    text = read(made[pages_of(board)["part"]]).text
    assert "unranked" in text
    assert "2 of 3 folds (without 1)" in text
    assert "missing2 of 3 folds (without 1)" in read(made["index.html"]).by_id("reproduce").text
    assert looks["part"].calibration[0].metrics["ece"].n < 640


def test_the_same_numbers_are_there_for_programs(made, board, looks):
    name = pages_of(board)["Plain"].removesuffix(".html")
    told = json.loads(made[f"{name}.json"])
    extra = told["closeup"]["extras"]["partial_auc"]
    assert extra["value"] == looks["Plain"].extras["partial_auc"].value
    assert told["row"]["name"] == "Plain"
    assert told["closeup"]["resamples"] == 100
    lines = list(csv.DictReader(io.StringIO(made[f"{name}.csv"])))
    assert {line["attribute"] for line in lines} == {"age", "sex", "localization"}
    few = [line for line in lines if line["too_few"] == "true"]
    assert [(line["value"], line["metric"], line["estimate"]) for line in few] == [
        ("0 to 19", "", "")
    ]


def test_hostile_names_do_no_harm(made, board):
    file = pages_of(board)[reported_rows.WORST]
    assert file.count("/") == 1
    assert Path(file).parts == ("methods", Path(file).name)
    for name, text in made.items():
        if name.endswith(".html"):
            assert "<script>alert" not in text
    tree = read(made[file])
    assert len(tree.all("script")) == 1
    for element in tree.all():
        assert not [key for key in element.attributes if key.startswith("on")]
        assert "style" not in element.attributes
    assert reported_rows.WORST[:40] in tree.one("h1").text


@pytest.mark.parametrize("bad", [*hostile.HOSTILE, "../../x", "+1", "@a\tb"])
def test_hostile_ids_of_images_do_no_harm(board, looks, bad):
    lesion = looks["Plain"].hardest[0]
    image = replace(lesion.images[0], image_id=bad)
    worse = replace(lesion, lesion_id=bad, group_id=f"{bad}g", images=(image,))
    changed = looks | {"Plain": replace(looks["Plain"], hardest=(worse,))}
    pictures = {"Plain": {bad: Pictured(b"x", b"x")}}
    text = render(board, (), changed, pictures=pictures)[pages_of(board)["Plain"]]
    tree = read(text)
    section = tree.by_id("highest-loss")
    assert len(tree.all("script")) == 1
    assert len(section.all("img")) == 2
    assert not section.all("a")
    for element in section.all():
        assert not [key for key in element.attributes if key.startswith("on")]
        assert not element.attributes.get("src", "").startswith("javascript")
    assert " ".join(written(bad).short.split()) in section.text


def test_a_rows_page_stays_below_half_a_megabyte(made, board):
    assert all(len(made[file].encode()) < 500_000 for file in pages_of(board).values())


def test_page_names_are_safe_and_differ_whatever_the_case():
    names = page_names(
        [*hostile.HOSTILE, "A", "a", "..", ".hidden", "resnet18@c5025f27", "x" * 300]
    )
    assert len({name.casefold() for name in names.values()}) == len(names)
    assert names["resnet18@c5025f27"] == "resnet18@c5025f27"
    for name in names.values():
        assert name == Path(name).name
        assert name[0] not in ".-@"
        assert len(name) <= 80
        assert re.fullmatch(r"[A-Za-z0-9@_.-]+", name)


def test_ids_are_unique_and_links_lead_somewhere(made, board):
    for file in pages_of(board).values():
        tree = read(made[file])
        ids = [one.attributes["id"] for one in tree.all() if "id" in one.attributes]
        assert len(ids) == len(set(ids))
        for link in tree.all("a"):
            target = link.attributes["href"]
            if target.startswith("#"):
                assert target[1:] in ids
            else:
                known = f"methods/{target}" in made or target == "../index.html"
                assert known or target.startswith("https://")


def test_drawings_lie_within_their_square(page):
    for line in page.all("polyline"):
        for point in line.attributes["points"].split():
            assert all(0 <= float(one) <= 100 for one in point.split(","))
    for figure in page.all("svg", "plane"):
        assert figure.attributes["role"] == "img"
        assert figure.attributes["aria-label"]


def test_data_without_malignant_classes_shows_no_such_view(world, rows):
    manifest = replace(world.dataset, malignant=())
    looks = row_reports(world.protocol, manifest, world.roles, rows[:1])
    assert looks["Plain"].malignant is None
    assert looks["Plain"].operating == ()
    assert looks["Plain"].decision is None
    made = score(world.protocol, manifest, world.roles, rows[:1], {})
    tree = read(render(made, (), looks)[pages_of(made)["Plain"]])
    assert "does not say which classes are malignant" in tree.by_id("malignancy").text


def test_the_leaderboards_contract_keeps_its_keys(board):
    told = json.loads(board.to_json())
    assert {"protocol", "unit", "dataset", "classes", "interval", "methods", "comparisons"} <= set(
        told
    )
    assert plural("lesion") == "lesions"


@pytest.fixture(scope="module")
def opened(made, tmp_path_factory):
    where = tmp_path_factory.mktemp("method")
    write(made, where)
    return where


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")


@needs_chromium
@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1600, "light")])
@pytest.mark.parametrize("row", ["Plain", reported_rows.WORST])
def test_it_opens_quietly_fits_and_axe_finds_nothing(
    browser,  # noqa: F811
    opened,
    board,
    row,
    width,
    theme,
):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        offline=True, color_scheme=theme, viewport={"width": width, "height": 900}
    )
    visit = context.new_page()
    complaints = []
    visit.on("console", lambda message: complaints.append(message.text))
    visit.on("pageerror", lambda error: complaints.append(str(error)))
    visit.goto((opened / pages_of(board)[row]).as_uri())
    assert visit.evaluate("document.documentElement.scrollWidth") <= width
    visit.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = Axe().run(visit, options={"resultTypes": ["violations"]})
    context.close()
    assert complaints == []
    assert found.violations_count == 0, found.generate_report()


@needs_chromium
def test_the_lines_of_a_decision_curve_differ_by_their_strokes_alone(
    browser,  # noqa: F811
    opened,
    board,
):
    context = browser.new_context(offline=True)
    visit = context.new_page()
    visit.goto((opened / pages_of(board)["Plain"]).as_uri())
    for drawn in (".sample line", "polyline"):
        strokes = visit.evaluate(
            "which => [...document.querySelector('#decisions figure').querySelectorAll(which)]"
            ".map(one => getComputedStyle(one).strokeDasharray)",
            drawn,
        )
        assert len(strokes) == 4
        assert len(set(strokes)) == 4
    context.close()


@needs_chromium
def test_without_script_every_table_can_be_read(
    browser,  # noqa: F811
    opened,
):
    context = browser.new_context(offline=True, java_script_enabled=False)
    visit = context.new_page()
    visit.goto((opened / "index.html").as_uri())
    visit.locator("a.closer").first.click()
    assert visit.locator("#subgroups summary:visible").count() == 3
    assert visit.locator("#units tbody tr:visible").count() >= 11
    assert visit.locator("button:visible").count() == 0
    visit.get_by_text("The whole leaderboard").click()
    assert visit.locator("#ranking").count() == 1
    context.close()
