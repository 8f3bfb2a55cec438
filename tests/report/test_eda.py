"""The EDA page: whole, quiet, readable without script; with pictures and without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.data import exploration
from bench.data.open import DatasetSpec
from bench.report.eda_page import EdaReport, eda_json, eda_page
from bench.report.render import render_page, write
from bench.score import association
from bench.workflows.dataset import explore
from tests.report import hostile
from tests.report.reading import read
from tests.report.test_browser import CHROMIUM, Visit, browser  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def found() -> EdaReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(association, "RESAMPLES", 40)
        patch.setattr(association, "TRADES", 39)
        patch.setitem(exploration.SETTINGS, "max_iter", 5)
        return explore(DatasetSpec(None, None), "groupkfold5", images=True)


@pytest.fixture(scope="module")
def page(found: EdaReport) -> str:
    return render_page("eda.html.j2", page=eda_page(found))


@pytest.fixture(scope="module")
def page_folder(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("eda")
    write({"index.html": page}, where)
    return where


def test_counts_are_those_of_the_metadata(found, page):
    tree = read(page)
    table = found.manifest.table
    missing = tree.by_id("missing").one("tbody").all("tr")
    assert missing[2].all("td")[0].text == str(int(table["age"].isna().sum()))
    sex = pd.crosstab(table["sex"].fillna("missing"), table["label"])
    text = tree.by_id("metadata").text
    assert f"{sex.loc['female', 'mel']} (" in text
    pictures = tree.by_id("pictures").all("img")
    assert len(pictures) == 6 * (len(found.manifest.classes) + 8)
    assert all(one.attributes["alt"] for one in pictures)


def test_every_blind_classifier_stands_beside_the_references(found, page):
    rows = read(page).by_id("blind").one("tbody").all("tr")
    assert len(rows) == len(found.board.rows)
    assert {"patient", "source alone", "picture quality alone", "majority"} <= {
        one.all("bdi")[0].text for one in rows
    }


def test_it_says_synthetic_and_the_json_is_whole(found, page):
    assert "Synthetic data" in read(page).one("title").text
    told = json.loads(eda_json(found))
    assert told["synthetic"] is True
    assert told["pictures_measured"] == len(found.manifest)
    assert len(told["associations"]) == len(found.associations)


def test_sizes_and_quality_stand_by_class_and_by_source(found, page):
    table, quality = found.manifest.table.set_index("image_id"), found.quality
    text = read(page).by_id("quality").text
    told = json.loads(eda_json(found))["pictures"]
    for kind, column in (("class", "label"), ("source", "source")):
        for part, own in quality.groupby(table[column].loc[quality.index]):
            one = told[f"by_{kind}"][part]
            assert one["images"] == len(own) == sum(one["sizes"].values())
            assert one["sharpness"] == pytest.approx(
                own["sharpness"].quantile([0.25, 0.5, 0.75]).tolist()
            )
            assert f"{own['brightness'].median():.1f} [" in text
        assert f"share of the {kind}" in text


def test_without_pictures_it_says_so(found):
    blind = replace(
        found,
        quality=None,
        pictures={},
        associations={key: one for key, one in found.associations.items() if "Cram" in one.measure},
    )
    text = render_page("eda.html.j2", page=eda_page(blind))
    assert "Metadata only" in text
    assert "<img" not in text


def test_hostile_words_do_no_harm(found):
    table = found.manifest.table.copy()
    table.loc[:5, "source"] = hostile.HOSTILE[0]
    table.loc[6:9, "localization"] = hostile.HOSTILE[1]
    worst = replace(found, manifest=replace(found.manifest, table=table, title=hostile.HOSTILE[0]))
    tree = read(render_page("eda.html.j2", page=eda_page(worst)))
    assert len(tree.all("script")) == 1
    for element in tree.all():
        assert not [key for key in element.attributes if key.startswith("on") or key == "style"]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1600, "light")])
def test_in_a_browser_it_is_quiet_fits_and_axe_finds_nothing(
    browser,  # noqa: F811
    page_folder,
    width,
    theme,
):
    from axe_playwright_python.sync_playwright import Axe

    with Visit(
        browser, page_folder, color_scheme=theme, viewport={"width": width, "height": 900}
    ) as visit:
        assert visit.complaints == []
        assert [one for one in visit.asked if not one.startswith("data:")] == [
            (page_folder / "index.html").as_uri()
        ]
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        visit.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        axe = Axe().run(visit.page, options={"resultTypes": ["violations"]})
        assert axe.violations_count == 0, axe.generate_report()
