"""What a page says, read without script."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.leaderboard import NAN, Estimate, Leaderboard, Rank
from bench.report.leaderboard_details import COSTS, cost_cell, efficient
from bench.report.leaderboard_page import shown_pairs, tie_letters
from bench.report.render import render
from bench.report.tables import folds_there, lacking
from tests.report import boards
from tests.report.reading import Element, read


def page_of(board: Leaderboard) -> Element:
    return read(render(board)["index.html"])


@pytest.fixture(scope="module")
def page(files) -> Element:
    return read(files["index.html"])


@pytest.fixture(scope="module")
def worst_page(worst_files) -> Element:
    return read(worst_files["index.html"])


def ranking(page: Element) -> list[Element]:
    return page.by_id("ranking").one("tbody").all("tr")


def test_every_row_reads_without_script(board, page):
    rows = ranking(page)
    assert len(rows) == len(board.rows)
    for row, shown in zip(board.rows, rows, strict=True):
        assert row.name in shown.one("th").text
        for key in board.metrics:
            assert f"{row.table.metrics[key].value:.3f}" in shown.text, key
    assert "0.628 [0.590, 0.661]" in rows[0].text
    assert "1–2" in rows[0].text  # noqa: RUF001
    assert "first in 94%" in rows[0].text


def test_every_panel_is_there_without_script(board, page):
    rates = [key for key in board.class_metrics if key not in ("support", "groups")]
    for section, names in (("unit-images", board.metrics), ("classes", rates)):
        panels = page.by_id(section).all("details", "panel")
        assert len(panels) == len(names)
        assert "open" in panels[0].attributes
        assert all(panel.one("summary").text for panel in panels)


def test_the_headline_names_the_leader_and_two_sentences_give_both_verdicts(page):
    assert page.one("p", "headline").text == (
        "efficientnet_phase4 is first with macro-F1 0.628 [0.590, 0.661]."
    )
    words = " ".join(one.text for one in page.all("p", "standfirst"))
    assert (
        "These models: efficientnet_phase4 is better than custom_cnn; no difference between it and "
        "resnet18 is shown."
    ) in words
    assert "These methods, trained again: efficientnet_phase4 is better than custom_cnn; " in words
    assert (
        "(5 trainings each, one training per fold; p adjusted by Holm over 2 comparisons)" in words
    )
    assert "All 3 methods clear the best reference row (prior, 0.115)." in words
    assert (
        "10,015 images of 7,470 lesions (HAM10000), each image once, by models trained without its "
        "lesion, as far as lesions were known when the folds were frozen."
    ) in words
    assert "not being verified" not in page.text


def test_submitted_rows_are_excepted_from_what_the_folds_guarantee(board):
    shown = page_of(boards.with_row(board, 1, kind="submitted"))
    told = "The submitted row is excepted, the training not being verified: resnet18."
    assert shown.all("p", "standfirst")[-1].text == told
    assert told in shown.by_id("methods").text


def headline(board: Leaderboard) -> str:
    return page_of(board).one("p", "headline").text


def test_a_verdict_is_the_same_from_either_side_of_a_comparison(board):
    one, two = board.comparisons
    turned = replace(two, a=two.b, b=two.a, models="worse", methods="worse")
    assert replace(board, comparisons=(one, turned)).verdicts == board.verdicts


def test_without_comparisons_no_verdict_is_given(board):
    assert replace(board, comparisons=()).verdicts == ()


def test_where_no_method_is_tested_the_reason_is_given(board):
    why = {"methods": "not tested", "trainings": 0, "basis": "the protocol has one fold"}
    pairs = tuple(replace(pair, p=NAN, p_adjusted=NAN, **why) for pair in board.comparisons)
    _, methods = replace(board, comparisons=pairs).verdicts
    assert methods == "These methods, trained again: not tested; the protocol has one fold."


def test_a_single_method_is_not_called_ahead(board):
    assert "the only ranked method" in headline(
        replace(board, rows=(board.rows[0], *board.rows[3:]), comparisons=())
    )


def test_no_ranked_row_is_said(board):
    unranked = tuple(replace(row, rank=Rank()) for row in board.rows)
    assert headline(replace(board, rows=unranked)) == "No method is ranked yet."
    assert headline(replace(board, rows=board.rows[3:])) == "No method has been run yet."
    assert "control" in headline(replace(board, rows=unranked, control=True)).lower()


def test_synthetic_data_is_called_synthetic(board, page):
    drawn = page_of(replace(board, dataset=boards.dataset(synthetic=True, title="Cohort")))
    assert drawn.one("title").text.startswith("Synthetic data")
    assert "Synthetic data." in drawn.one("div", "banner").text
    assert "synthetic" in [badge.text for badge in drawn.one("h1").all("span", "badge")]
    assert drawn.one("p", "headline").text.startswith("On synthetic data, efficientnet_phase4 is")
    assert "synthetic images" in " ".join(one.text for one in drawn.all("p", "standfirst"))
    assert not page.all("div", "banner")
    assert "ynthetic" not in page.one("title").text


@pytest.mark.parametrize("unit", ["patient", "lesion", "image"])
def test_the_unit_is_named(board, unit):
    shown = page_of(replace(board, dataset=boards.dataset(unit=unit)))
    badges = [badge.text for badge in shown.one("h1").all("span", "badge")]
    assert badges == [f"{unit}-level"]
    assert f"{unit.capitalize()}-level" in shown.one("dl", "sheet").text


def test_incomplete_grouping_is_counted(board, page):
    shown = page_of(replace(board, dataset=boards.dataset(ungrouped=1234)))
    assert "Grouping incomplete: 1,234 images" in shown.one("div", "banner").text
    assert "grouping incomplete: 1,234 images" in shown.one("dl", "sheet").text
    assert "rouping incomplete" not in page.text


def test_licence_and_citation_stand_there(page):
    sheet = page.one("dl", "sheet").text
    assert "CC BY-NC 4.0" in sheet
    assert "Tschandl" in sheet
    links = [link.attributes["href"] for link in page.one("dl", "sheet").all("a")]
    assert links == ["https://doi.org/10.1038/sdata.2018.161"]


def test_a_method_that_does_not_clear_the_reference_is_marked_in_words(board):
    marked = page_of(boards.with_row(board, 2, clears_reference=False))
    rows = ranking(marked)
    text = "does not clear the best reference row (prior, 0.115)"
    assert text in rows[2].one("span", "fault").text
    assert "failing" in rows[2].attributes["class"]
    assert [len(row.all("span", "fault")) for row in rows] == [0, 0, 1, 0, 0, 0]
    assert "custom_cnn does not clear the best reference row (prior, 0.115)." in marked.text


def test_a_leader_that_clears_no_reference_is_not_praised(board):
    rows = tuple(replace(row, clears_reference=False) for row in board.rows)
    shown = page_of(replace(board, rows=rows))
    assert "but does not clear the best reference row" in shown.one("p", "headline").text
    assert "No method clears the best reference row" in shown.text


def test_the_plot_at_the_head_says_which_rows_it_leaves_out(board, page):
    first = board.rows[0]
    names = [f"m{at:02d}" for at in range(14)]
    rows = [replace(first, name=name, rank=Rank(at + 1)) for at, name in enumerate(names)]
    rows[9] = replace(rows[9], clears_reference=False)
    rows[12:] = [replace(row, rank=Rank(), clears_reference=False) for row in rows[12:]]
    many = replace(board, rows=(*rows, *board.rows[3:]), comparisons=(), mean_ranks={})
    head = page_of(many).one("div", "glance")
    assert len(head.one("tbody").all("tr")) == 9  # with the best reference
    assert (
        "8 of 14 rows; the ranking below also has the other 6 (2 unranked, 3 not clearing the best "
        "reference row)."
    ) in head.one("p", "key").text
    assert " rows; " not in page.one("div", "glance").text


def test_reference_rows_are_there_and_unmarked(page):
    references = [row for row in ranking(page) if row.attributes["class"] == "reference"]
    assert [row.one("a", "name").text for row in references] == list(boards.REFERENCES)
    assert all(row.one("span", "badge").text == "reference" for row in references)


def test_a_row_says_which_folds_it_lacks_by_seed_and_repeat(board, worst_page):
    assert "3 of 5 folds (without 1 and 3)" in ranking(worst_page)[1].one("th").text
    whole = board.rows[0]
    assert folds_there(board, whole) == ("5 of 5", "")
    assert lacking(board, whole) == ""
    for repeats, missing, told in (
        (1, ((1, 0, 2),), "14 of 15 folds (without 2 of seed 1)"),
        (
            1,
            ((3, 0, 0), *((4, 0, f) for f in range(5))),
            "19 of 25 folds (without 0 of seed 3; seed 4)",
        ),
        (
            2,
            ((0, 0, 4), (0, 1, 0)),
            "28 of 30 folds (without 4 of seed 0 repeat 0; 0 of seed 0 repeat 1)",
        ),
    ):
        row = replace(whole, seeds=(0, 1, 2), missing=missing)
        assert lacking(replace(board, repeats=repeats), row) == told
    once = replace(whole, missing=((0, 1, 0), (0, 1, 1)))
    assert lacking(replace(board, repeats=2), once) == "8 of 10 folds (without 0 and 1 of repeat 1)"
    many = replace(whole, missing=tuple((0, repeat, 0) for repeat in range(9)))
    assert lacking(replace(board, repeats=9), many).endswith("0 of repeat 5; 3 more)")


def test_undefined_gives_its_reason_and_n(worst_page):
    unsure = ranking(worst_page)[1].one("td", "lead")
    assert unsure.text == "n/a (undefined: df, mel, n = 10,015) incomplete"
    precision = worst_page.by_id("classes").all("details", "panel")[1]
    assert "n/a (0 predicted)" in precision.text
    sensitivity = worst_page.by_id("classes").all("details", "panel")[5]
    assert "n/a (no val predictions, n = 1,113)" in sensitivity.text


def test_marks_stand_beside_numbers_and_are_explained(page, worst_page):
    assert "few lesions" in page.by_id("classes").text
    terms = [one.text for one in page.by_id("methods").all("dt")]
    assert {"few lesions", "biased", "percentile", "Clopper–Pearson"} <= set(terms)  # noqa: RUF001
    assert "4 of 5 folds (0, 1, 2, 4)" in worst_page.by_id("classes").text
    assert "4 of 5 folds (0, 1, 2, 4)" in worst_page.by_id("methods").text


def test_lower_is_better_is_said_and_sorted_so(board, page):
    heads = page.by_id("ranking").one("thead").all("th", "est")
    for key, head in zip(board.metrics, heads, strict=True):
        lower = key in ("log_loss", "brier", "ece")
        assert ("lower is better" in head.text) == lower, key
        assert head.attributes["data-first"] == ("ascending" if lower else "descending")


def test_ties_share_a_letter(board, page):
    letters = [row.one("td", "ties").text for row in ranking(page)]
    assert letters == ["a", "a", "b", "", "", ""]
    chained = replace(
        board,
        tie_groups=(("efficientnet_phase4", "resnet18"), ("resnet18", "custom_cnn")),
    )
    assert list(tie_letters(chained).values()) == ["a", "a b", "b"]
    assert tie_letters(replace(board, comparisons=())) == {}


def test_the_ranking_says_what_was_tested_and_what_it_cost(page):
    first = ranking(page)[0]
    assert first.one("td", "tested").text == "10,015 7,470"
    costs = [cell.text for cell in first.all("td", "num")]
    assert costs[-4:] == ["34 min 08 s", "1.77 GiB", "11.2 million", "412"]
    heads = [one.text for one in page.by_id("ranking").one("thead").all("th", "num")]
    assert heads[-4:] == ["Training time", "Peak memory", "Parameters", "Images per second"]


def test_shares_of_ranks_stand_in_the_table_and_mean_ranks_in_the_diagram(page):
    lines = page.by_id("ranks").one("tbody").all("tr")
    assert [cell.text for cell in lines[0].all("td")] == ["94%", "6%", "", "1–2"]  # noqa: RUF001
    assert [cell.text for cell in lines[2].all("td")] == ["", "", "100%", "3"]
    told = page.by_id("ranks").one("figure").one("svg").attributes["aria-label"]
    assert "resnet18 1.60" in told
    assert "efficientnet_phase4 and resnet18" in told


def test_further_seeds_are_said_to_enter_the_spread_alone(board, page):
    assert "urther seeds enter the spread over seeds only" in page.by_id("methods").text
    seeds = page_of(boards.with_row(board, 0, seeds=(0, 1, 2)))
    notes = [one.one("caption").text for one in seeds.by_id("confusion").all("table")]
    assert notes[0] == "10,015 test predictions, of the seeds that the metrics are of"
    assert notes[1] == "10,015 test predictions"


def test_of_many_pairs_those_that_tell_the_order_are_shown(board):
    names = [f"m{at:02d}" for at in range(20)]
    rows = [replace(board.rows[0], name=name, rank=Rank(at + 1)) for at, name in enumerate(names)]
    pairs = tuple(
        replace(board.comparisons[0], a=a, b=b)
        for at, a in enumerate(names)
        for b in names[at + 1 :]
    )
    many = replace(board, rows=tuple(rows), comparisons=pairs, tie_groups=(), mean_ranks={})
    kept, told = shown_pairs(many)
    assert told.startswith("Of 190 pairs these are the first row against every other")
    assert len(kept.comparisons) == 19 + 18
    assert {one.b for one in kept.comparisons if one.a == "m00"} == set(names[1:])
    assert shown_pairs(board) == (board, "")


def test_the_cheapest_of_their_worth_are_named(board):
    rows = list(board.rows[:3])
    seconds = {row.name: row.facts.cost["train_seconds"] for row in rows}
    assert min(seconds, key=seconds.get) == "custom_cnn"
    assert efficient(board, rows) == {row.name for row in rows}  # each better one took longer
    slow = replace(rows[1], facts=replace(rows[1].facts, cost={"train_seconds": 1e6}))
    assert efficient(board, [rows[0], slow, rows[2]]) == {rows[0].name, rows[2].name}


def test_badges_tell_what_a_row_is(worst_page):
    badges = [[one.text for one in row.all("span", "badge")] for row in ranking(worst_page)]
    assert badges[1][:2] == ["incomplete", "from scratch"]
    assert badges[2][:2] == ["submitted", "from scratch"]
    assert "3 of 5 folds" in ranking(worst_page)[1].text
    assert "image_size = 64" in ranking(worst_page)[0].text


def test_pairs_give_both_verdicts(page):
    rows = page.by_id("pairs").one("tbody").all("tr")
    assert "+0.012 [−0.004, 0.027]" in rows[0].text  # noqa: RUF001
    assert "no difference shown p = 0.21" in rows[0].text
    assert "5 trainings each, one training per fold" in rows[0].text
    assert "first is better p < 0.001" in rows[1].text
    assert rows[1].text.count("first is better") == 2


def test_confusion_shows_counts_and_row_shares(board, page):
    matrix = page.by_id("confusion").all("table")[0]
    counts = board.rows[0].confusion
    cells = matrix.one("tbody").all("tr")[0].all("td")
    assert cells[0].text == f"{counts[0, 0]} {counts[0, 0] / counts[0].sum():.0%}"
    assert cells[-1].text == "327"


def test_folds_are_written_one_by_one(board, page):
    panel = page.by_id("folds").one("details")
    for fold, value in enumerate(board.rows[0].by_fold["macro_f1"]):
        assert f"Fold {fold}" in panel.one("thead").text
        assert f"{value:.3f}" in panel.one("tbody").one("tr").text


def test_each_row_tells_how_to_make_it_again(board, page):
    for index, row in enumerate(board.rows):
        recipe = page.by_id(f"row-{index + 1}")
        for text in (row.facts.command, row.facts.hashes["roles"], row.facts.environment["torch"]):
            assert text in recipe.text
        assert " ".join(row.facts.passport.split()) in recipe.text


def test_how_the_numbers_were_made_is_said(page):
    text = page.by_id("methods").text
    for words in (
        "95% intervals from 10,000 resamples of whole lesions (cluster bootstrap, BCa)",
        "conditional on the trained models",
        "plus the variance of training",
        "adjusted by Holm",
    ):
        assert words in text


def test_costs_are_readable(page):
    cells = page.by_id("costs").one("tbody").one("tr").all("td")
    assert [one.text for one in cells] == ["34 min 08 s", "1.77 GiB", "11.2 million", "412"]


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": (), "comparisons": (), "best_reference": ""},
        {"comparisons": (), "best_reference": "", "control": True},
        {"repeats": 5},
        {"class_metrics": ()},
        {"metrics": ("macro_f1", "a_metric_of_tomorrow")},
    ],
)
def test_a_leaderboard_with_less_or_more_is_still_a_page(board, changes):
    assert page_of(replace(board, **changes)).one("h1").text.startswith("Five folds")


def test_an_undefined_correlation_says_why(board):
    table = board.rows[5].table
    metrics = {**table.metrics, "mcc": Estimate(NAN, n=10_015)}
    shown = page_of(boards.with_row(board, 5, table=replace(table, metrics=metrics)))
    assert "n/a (one class only, n = 10,015)" in ranking(shown)[5].text


@pytest.mark.parametrize("key", COSTS)
def test_a_cost_that_nobody_told_is_not_available(board, key):
    row = replace(board.rows[0], facts=replace(board.rows[0].facts, cost={}))
    assert cost_cell(row, key) == ("", "n/a")
