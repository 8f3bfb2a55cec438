"""The page of data and protocol: its counts are those of metadata and roles, its items complete."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.report.dataset_page import render_dataset
from bench.report.dataset_report import DatasetReport, KnownPairs
from bench.report.guidelines import (
    ANSWERED,
    AUTHORS,
    FILES,
    answer_template,
    guidelines,
    read_guideline,
)
from bench.report.render import write
from tests.conftest import ROOT
from tests.report import boards, dataset_reports, hostile
from tests.report.reading import read
from tests.report.test_browser import CHROMIUM, Visit, browser  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def study() -> DatasetReport:
    return dataset_reports.study()


@pytest.fixture(scope="module")
def files(study) -> dict[str, str]:
    return dict(render_dataset(study))


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.replace(",", "").replace("(", "").replace(")", "").split()]


def test_every_fold_has_the_images_and_groups_of_the_roles_file(files):
    roles = pd.read_csv(ROOT / "protocols" / "groupkfold5" / "synthetic.csv", comment="#")
    (table,) = [
        one
        for one in read(files["dataset.html"]).by_id("flow").all("table")
        if "every fold" in one.one("caption").text
    ]
    for fold, line in enumerate(table.one("tbody").all("tr")):
        for part, cell in zip(("train", "val", "test"), line.all("td"), strict=False):
            own = roles[roles[f"fold{fold}"] == part]
            assert numbers(cell.text) == [len(own), own["group_id"].nunique()]


def test_the_balance_of_every_part_is_that_of_metadata_and_roles(study, files):
    roles = pd.read_csv(ROOT / "protocols" / "groupkfold5" / "synthetic.csv", comment="#")
    table = study.manifest.table.merge(roles, on="image_id")
    told = json.loads(files["dataset.json"])["balance"]
    assert set(told) == {"train", "val", "test"}
    for part, rows in told.items():
        (mel,) = [one for one in rows if (one["attribute"], one["value"]) == ("class", "mel")]
        for fold in range(5):
            own = table[(table["label"] == "mel") & (table[f"fold{fold}"] == part)]
            assert mel[f"images{fold}"] == len(own)


@pytest.mark.parametrize("name", ["source-holdout", "learning-curve", "leakage-meter", "holdout"])
def test_the_parts_of_a_fold_and_what_is_left_out_are_all_images(name):
    study = dataset_reports.study(name)
    for column in range(study.roles.columns):
        assert sum(study.size(column, part)[0] for part in ("train", "val", "test", "")) == len(
            study.manifest
        )
    page = render_dataset(study)["dataset.html"]
    assert ("Left out: " in page) == (name != "holdout")


def test_known_duplicates_are_told_united_or_apart(study):
    ids = study.manifest.image_ids.tolist()
    pairs = KnownPairs(
        pd.DataFrame({"image_a": ids[:1], "image_b": ids[1:2]}),
        pd.DataFrame({"image_a": ids[2:3], "image_b": ids[3:4], "verdict": ["same lesion"]}),
    )
    tree = read(render_dataset(replace(study, pairs=pairs))["dataset.html"])
    assert "1 pair of images" in tree.by_id("duplicates").text
    still = "1 pair of images that show one lesion, found later, is still in two groups"
    assert still in tree.by_id("duplicates").text
    assert still in " ".join(one.text for one in tree.all("p", "standfirst"))
    assert "no known group on two sides of a fold" in tree.one("p", "headline").text
    (line,) = tree.by_id("duplicates").one("tbody").all("tr")
    parts = study.roles.parts[2:4]
    facing = sum(bool(a != b and a and b) for a, b in zip(*parts, strict=True))
    assert line.all("td")[-1].text == f"{facing} of 5"


def test_rows_that_the_reader_passed_over_are_counted(study):
    page = render_dataset(replace(study, left_out={"Rows of metadata without a label": 7}))
    steps = read(page["dataset.html"]).by_id("flow").one("tbody").all("tr")
    assert numbers(steps[0].all("td")[0].text) == [len(study.manifest) + 7]
    assert steps[1].all("td")[0].text == "7"


@pytest.mark.parametrize(
    ("file", "items"), [("stard_ai", 40), ("tripod_ai", 27), ("clear_derm", 25)]
)
def test_a_guideline_has_all_of_its_items_once_and_in_order(file, items):
    listed = [one["number"] for one in read_guideline(file)["item"]]
    main = [int(number.rstrip("abcdefg")) for number in listed]
    assert sorted(set(main)) == list(range(1, items + 1))
    assert main == sorted(main)
    assert max(Counter(listed).values()) == 1


def test_every_answer_is_asked_for_and_every_item_answered_or_the_authors(study):
    asked = {
        one["answer"] for file in FILES for one in read_guideline(file)["item"] if "answer" in one
    }
    assert asked == set(answer_template().blocks)
    for one in guidelines(study):
        for item in one.items:
            assert item.answer or item.fill
            assert not re.search(
                r"[a-z%]\.[A-Z“\d]|  |\n", item.answer
            )  # no space between sentences
            assert (item.state == AUTHORS) == (not item.answer)
        assert one.count(ANSWERED) > len(one.items) / 3


def test_answers_of_a_full_board_name_its_rows_and_settings(study):
    known = {
        item.number: item.answer
        for item in guidelines(replace(study, board=boards.leaderboard()))[0].items
    }
    assert "3 trained by this bench" in known["15a"]
    assert "torch 2.13.0" in known["13"]
    assert "resized to a square and normalised" in known["14"]


def test_the_answers_name_the_roles_file_without_a_path_of_this_machine(files):
    assert "groupkfold5/synthetic.csv" in files["dataset.json"]
    assert str(ROOT) not in "".join(files.values())


def test_the_table_to_fill_in_has_an_item_a_line(study, files):
    rows = list(csv.DictReader(io.StringIO(files["dataset_guidelines.csv"])))
    assert len(rows) == sum(len(one.items) for one in guidelines(study))
    assert {row["authors"] for row in rows} == {""}


def test_hostile_words_do_no_harm(study):
    table = study.manifest.table.copy()
    table.loc[:5, "source"] = hostile.HOSTILE[0]
    table.loc[6:9, "dx_type"] = hostile.HOSTILE[3]
    manifest = replace(study.manifest, table=table, title=hostile.HOSTILE[1])
    made = render_dataset(replace(study, manifest=manifest, board=hostile.worst()))
    tree = read(made["dataset.html"])
    assert len(tree.all("script")) == 1
    for element in tree.all():
        assert not [key for key in element.attributes if key.startswith("on") or key == "style"]
    for row in csv.reader(io.StringIO(made["dataset_guidelines.csv"])):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_the_same_study_gives_the_same_bytes(study, files):
    assert dict(render_dataset(study)) == files


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1400, "light")])
def test_in_a_browser_it_is_quiet_fits_and_axe_finds_nothing(
    browser,  # noqa: F811
    files,
    tmp_path: Path,
    width,
    theme,
):
    from axe_playwright_python.sync_playwright import Axe

    write({"index.html": files["dataset.html"]}, tmp_path)
    with Visit(
        browser, tmp_path, color_scheme=theme, viewport={"width": width, "height": 900}
    ) as visit:
        assert visit.complaints == []
        assert visit.asked == [(tmp_path / "index.html").as_uri()]
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        visit.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        axe = Axe().run(visit.page, options={"resultTypes": ["violations"]})
        assert axe.violations_count == 0, axe.generate_report()
