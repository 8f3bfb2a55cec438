"""The page and files of a comparison, and its sentences."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from bench.io import FORMULA
from bench.leaderboard import (
    BayesianTest,
    ComparisonReport,
    Detectable,
    MetricTable,
    NonInferiority,
    RowFacts,
)
from bench.report.charts import swatches
from bench.report.comparison_page import (
    LISTED,
    bayesian_text,
    discordant_csv,
    non_inferiority_text,
    render_comparison,
    standfirst,
)
from bench.report.render import render
from bench.score.comparison import ComparisonRequest, compare_rows_in_full
from tests.report import boards, hostile
from tests.report.comparisons import compared
from tests.report.reading import read
from tests.score.cohorts import World

NAN = float("nan")
NONE = "no difference shown"


@pytest.fixture(scope="module")
def two() -> ComparisonReport:
    return compared("a", "b")


@pytest.fixture(scope="module")
def three() -> ComparisonReport:
    return compared("a", "b", "<i>c")


def verdicts(found: ComparisonReport, models: str, methods: str, **changes: object) -> tuple:
    """Both sentences on a pair with these verdicts and numbers."""
    (pair,) = found.pairs
    base = {"difference": 0.018, "low": 0.004, "high": 0.031, "p_adjusted": 0.03}
    words = {"models": models, "methods": methods, "trainings": 5, "basis": "one training per fold"}
    row = replace(pair.comparison, **(base | words | changes))
    return found.pair_verdicts(replace(pair, comparison=row, detectable=Detectable(0.011, 0.024)))


TURNED = {"difference": -0.018, "low": -0.031, "high": -0.004}


def test_both_sentences_name_the_better_row_whichever_stands_first(two):
    size = "by 1.8 points of macro-F1, 95% CI [0.4, 3.1]."
    rests = "p = 0.030 (5 trainings each, one training per fold)."
    models, methods = verdicts(two, "better", "better")
    assert models == f"These models: a is better than b {size}"
    assert methods == f"These methods, trained again: a is better than b, {rests}"
    models, methods = verdicts(two, "worse", "worse", **TURNED)
    assert models == f"These models: b is better than a {size}"
    assert methods == f"These methods, trained again: b is better than a, {rests}"


def test_of_a_loss_the_lower_is_better(two):
    ends = {"difference": -0.2, "low": -0.3, "high": -0.1}
    models, _ = verdicts(two, "better", "better", metric="log_loss", **ends)
    assert models.endswith("a is better than b by 0.200 of log loss, 95% CI [0.100, 0.300].")


def test_each_verdict_has_the_difference_that_it_would_have_detected(two):
    models, methods = verdicts(two, NONE, NONE, low=-0.01, p_adjusted=0.5)
    assert "(1.8 points of macro-F1, 95% CI [\N{MINUS SIGN}1.0, 3.1])" in models
    assert "1.1 points of macro-F1 would be detected with 80% power" in models
    assert "2.4 points of macro-F1 would be detected with 80% power" in methods


def test_a_verdict_that_is_not_given_says_why(two):
    _, methods = verdicts(two, "better", "not tested", basis="the protocol has one fold")
    assert methods == "These methods, trained again: not tested; the protocol has one fold."


def test_non_inferiority_states_bound_and_p_or_why_it_is_not_shown(two):
    (pair,) = two.pairs
    shown = NonInferiority(0.02, -0.013, 0.01, shown=True, methods=True)
    text = non_inferiority_text(two, pair, shown)
    margin = "by a margin of 2.0 points of macro-F1"
    assert text.startswith(f"These models: a is not inferior to b {margin}")
    for fact in ("1.3 worse", "one-sided p = 0.010", "below 0.025"):
        assert fact in text
    open_ = replace(shown, shown=False, methods=False)
    for changes, facts in (
        ({"bound": 0.002, "p": 0.045}, ("0.2 better", "one-sided p = 0.045 (not below 0.025)")),
        ({"bound": -0.05}, ("5.0 worse",)),
        ({"p": NAN}, ("1.3 worse", "trained again: not tested")),
        ({"bound": NAN}, ("no interval",)),
    ):
        text = non_inferiority_text(two, pair, replace(open_, **changes))
        assert "of a to b by 2.0 points of macro-F1 is not shown" in text
        assert all(fact in text for fact in facts)


def with_verdicts(found: ComparisonReport, *words: tuple[str, str]) -> ComparisonReport:
    pair = found.pairs[0]
    pairs = [
        replace(pair, comparison=replace(pair.comparison, models=models, methods=methods))
        for models, methods in words
    ]
    return replace(found, pairs=tuple(pairs))


def test_of_all_pairs_the_headline_counts_those_that_differ(three):
    found = with_verdicts(three, ("better", NONE), ("better", "better"), (NONE, NONE))
    models, methods = replace(found, baseline="").verdicts
    assert models == "These models: 2 of 3 pairs differ in macro-F1."
    assert methods == "These methods, trained again: 1 of 3 pairs differ in macro-F1."


def test_of_three_rows_the_headline_is_about_the_baseline(three):
    assert three.baseline == "a"
    assert [pair.comparison.a for pair in three.pairs] == ["a", "a"]
    models, methods = three.verdicts
    assert models.startswith("These models: a is better than b")
    assert "over 2 comparisons" in methods


def test_the_last_sentence_says_over_how_many_comparisons_p_is_adjusted(two, three):
    assert "one test, p not adjusted" in standfirst(two)[-1]
    assert "p adjusted by Holm over the 2 comparisons with a" in standfirst(three)[-1]
    assert standfirst(two)[-1].endswith("Intervals are conditional on the trained models.")


def test_the_bayesian_test_gives_a_probability_to_either_row_and_to_equivalence(two):
    (pair,) = two.pairs
    text = bayesian_text(pair, BayesianTest(0.01, a_better=0.7, alike=0.2, b_better=0.1))
    assert text == "P(a is better) = 70.0%, P(b is better) = 10.0%, P(equivalent) = 20.0%."


def test_of_many_pairs_those_that_differ_are_listed_and_the_others_counted(two):
    sentences = standfirst(with_verdicts(two, ("better", NONE), *[(NONE, NONE)] * 6))
    assert sum("is better than" in sentence for sentence in sentences) == 1
    assert "No difference is shown by either verdict in 6 other pairs." in sentences


def test_other_tests_are_folded_evidence_and_no_gate(two):
    page = read(render_comparison(two)["index.html"])
    (folded,) = page.by_id("verdict").all("details")
    assert "open" not in folded.attributes
    assert "Nadeau & Bengio 2003" in folded.text
    assert "Corani & Benavoli 2015" in folded.text
    assert "Nadeau" not in two.verdict


def test_a_verdict_by_a_biased_metric_says_what_its_intervals_are_worth(two):
    marked = {
        row: replace(
            table,
            metrics={
                **table.metrics,
                "macro_f1": replace(table.metrics["macro_f1"], marks=("biased",)),
            },
        )
        for row, table in two.tables.items()
    }
    assert not any("Resampling adds noise" in sentence for sentence in standfirst(two))
    told = standfirst(replace(two, tables=marked))
    assert any(sentence.startswith("Resampling adds noise that macro-F1") for sentence in told)


def test_rows_that_agree_in_every_resample_agree_in_the_compared_metric(two):
    models, _ = verdicts(two, NONE, NONE, difference=0.0, low=NAN, high=NAN)
    assert models == "These models: a and b have the same macro-F1 in every resample."
    models, _ = verdicts(two, "better", NONE, low=NAN, high=NAN)
    assert models.endswith("by 1.8 points of macro-F1, the same in every resample.")


def test_what_was_cut_to_common_trainings_says_so_first(two):
    assert replace(two, trainings=(2, 3)).verdict.startswith("On the 2 of 3 trainings")
    assert "a is not ranked: why." in standfirst(replace(two, notes=("a is not ranked: why",)))


def test_the_json_is_strict_and_holds_the_verdict(two):
    read = json.loads(render_comparison(two)["comparison.json"], parse_constant=pytest.fail)
    assert read["headline"] == two.verdict
    assert read["rows"] == ["a", "b"]
    (pair,) = read["pairs"]
    assert pair["comparison"]["difference"] == two.pairs[0].comparison.difference
    assert pair["disputed"] == len(two.pairs[0].disputed)


def test_every_disputed_image_stands_in_the_csv(three):
    lines = list(csv.DictReader(io.StringIO(discordant_csv(three))))
    assert len(lines) == sum(len(pair.disputed) for pair in three.pairs)
    assert all(line["a_right"] != line["b_right"] for line in lines)


def test_disputed_images_are_drawn_and_listed_in_their_classes_colours(two):
    tree = read(render_comparison(two)["index.html"])
    (pair,) = two.pairs
    drawn = tree.by_id("discordant").one("figure")
    assert f"{len(pair.disputed)} images" in drawn.text
    assert len(drawn.all("line", "dot")) == len(pair.disputed)
    lines = tree.by_id("discordant").one("table", "images").one("tbody").all("tr")
    assert len(lines) == min(LISTED, len(pair.disputed))
    for line, image in zip(lines, pair.disputed, strict=False):
        assert image.image_id in line.text
        swatch = swatches(two.classes)[two.classes.index(image.label)]
        assert swatch in line.all("td")[1].one("span").attributes["class"].split()
        assert f"{abs(image.a_probability - image.b_probability):.2f}" in line.text


@pytest.mark.parametrize("bad", [*hostile.HOSTILE, "@SUM(A1)", "+1", "-1"])
def test_hostile_ids_and_classes_do_no_harm(two, bad):
    (pair,) = two.pairs
    classes = (bad, *two.classes[1:])
    old = two.classes[0]

    def renamed(table: MetricTable) -> MetricTable:
        by_class = {bad if key == old else key: one for key, one in table.per_class.items()}
        return replace(table, per_class=by_class)

    image = replace(
        pair.disputed[0], image_id=bad, group_id=bad, label=bad, a_called=bad, b_called=classes[1]
    )
    lines = tuple(
        replace(one, label=bad) if one.label == old else one for one in pair.disagreements
    )
    changed = replace(
        pair, disputed=(image,), disagreements=lines, differences=renamed(pair.differences)
    )
    found = replace(
        two,
        classes=classes,
        pairs=(changed,),
        tables={row: renamed(table) for row, table in two.tables.items()},
    )
    files = render_comparison(found)
    tree = read(files["index.html"])
    assert len(tree.all("script")) == len(tree.all("style")) == 1
    assert not tree.all("img")
    for element in tree.all():
        assert not [key for key in element.attributes if key.startswith("on")]
        assert "javascript:" not in element.attributes.get("href", "")
    (line,) = csv.DictReader(io.StringIO(files["disagreements.csv"]))
    for cell in (line["image_id"], line["group_id"], line["truth"], line["a_called"]):
        assert not cell.startswith(FORMULA)
        assert cell in (bad, f"'{bad}")
    json.loads(files["comparison.json"])


def test_the_page_shows_the_verdict_and_escapes_names(three):
    page = render_comparison(three)["index.html"]
    assert "<i>c" not in page
    assert "&lt;i&gt;c" in page
    assert 'role="img" aria-label="Mean ranks:' in page
    assert page.count("McNemar") > 0
    assert "SYNTHETIC" not in page


def test_synthetic_data_is_called_so(two):
    found = replace(two, dataset=replace(two.dataset, synthetic=True))
    assert found.verdict.startswith("On synthetic data. ")
    assert "<title>Synthetic data: " in render_comparison(found)["index.html"]


def test_the_leaderboard_links_to_its_comparisons():
    board = replace(boards.leaderboard(), tie_groups=(("resnet18", "custom_cnn"),))
    page = render(board, [("compare/x/index.html", "a against b")])["index.html"]
    assert '<a href="compare/x/index.html">a against b</a>' in page
    assert "No difference between the models is shown within resnet18 and custom_cnn." in page
    assert json.loads(render(board)["leaderboard.json"])["tie_groups"] == [
        ["resnet18", "custom_cnn"]
    ]
    assert "compare/" not in render(board)["index.html"]


def test_a_reference_says_that_it_is_one():
    world = World()
    rows = [world.row("a"), *world.references()]
    facts = {"a": RowFacts()}
    asked = ComparisonRequest("macro_f1")
    found = compare_rows_in_full(
        world.protocol, world.dataset, world.roles, rows, facts, ["a", "majority"], asked
    )
    assert "majority is not ranked: a reference." in standfirst(found)
