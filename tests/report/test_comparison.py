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
NONE = "no difference seen"


@pytest.fixture(scope="module")
def two() -> ComparisonReport:
    return compared("a", "b")


@pytest.fixture(scope="module")
def three() -> ComparisonReport:
    return compared("a", "b", "<i>c")


def said(found: ComparisonReport, word: str, **changes: float) -> str:
    """The verdict on a pair of that word and these numbers."""
    (pair,) = found.pairs
    base = {"difference": 0.018, "low": 0.004, "high": 0.031, "p_adjusted": 0.03}
    one = replace(pair.comparison, verdict=word, **(base | changes))
    return found.pair_verdict(replace(pair, comparison=one, detectable=Detectable(0.011, 0.024)))


def test_better_names_the_better_one_whichever_stands_first(two):
    told = "is better than {} by 1.8 points of macro-F1, 95% CI 0.4 to 3.1; adjusted p = 0.030."
    assert said(two, "better") == f"a {told.format('b')}"
    turned = {"difference": -0.018, "low": -0.031, "high": -0.004}
    assert said(two, "worse", **turned) == f"b {told.format('a')}"


def test_of_a_loss_the_lower_is_better(two):
    (pair,) = two.pairs
    turned = replace(
        pair.comparison, metric="log_loss", verdict="better", difference=-0.2, low=-0.3, high=-0.1,
        p_adjusted=0.01,
    )  # fmt: skip
    assert two.pair_verdict(replace(pair, comparison=turned)) == (
        "a is better than b by 0.200 of log loss, 95% CI 0.100 to 0.300; adjusted p = 0.010."
    )


def test_whether_of_a_loss_the_lower_is_better_may_be_open(two):
    (pair,) = two.pairs
    ends = {"difference": 0.2, "low": 0.1, "high": 0.3, "p_adjusted": 0.2}
    one = replace(pair.comparison, metric="log_loss", verdict="not settled", **ends)
    assert two.pair_verdict(replace(pair, comparison=one)) == (
        "Whether b is better than a is not settled: 0.200 of log loss, 95% CI 0.100 to 0.300, "
        "but adjusted p = 0.20 (3 folds are few)."
    )
    turned = replace(one, difference=-0.2, low=-0.3, high=-0.1)
    told = two.pair_verdict(replace(pair, comparison=turned))
    assert told.startswith("Whether a is better than b is not settled: 0.200 of log loss, ")
    assert "95% CI 0.100 to 0.300" in told


def test_whether_the_second_is_better_may_be_open(two):
    turned = {"difference": -0.018, "low": -0.031, "high": -0.004, "p_adjusted": 0.12}
    told = said(two, "not settled", **turned)
    assert told.startswith("Whether b is better than a is not settled: 1.8 points of macro-F1, ")


@pytest.mark.parametrize(("folds", "few"), [(5, " (5 folds are few)"), (6, "")])
def test_six_folds_are_not_few(two, folds, few):
    told = said(replace(two, folds=folds), "not settled", p_adjusted=0.12)
    assert told.endswith(f"but adjusted p = 0.12{few}.")


def test_no_difference_says_what_could_have_been_seen_by_both(two):
    told = said(two, "no difference seen", low=-0.01, p_adjusted=0.5)
    assert told.startswith("No difference between a and b is detected")
    assert "2.4 points of macro-F1 would be detected" in told


def test_not_settled_says_which_of_the_two_does_not(two):
    assert said(two, "not settled", p_adjusted=0.12) == (
        "Whether a is better than b is not settled: 1.8 points of macro-F1, 95% CI 0.4 to 3.1, "
        "but adjusted p = 0.12 (3 folds are few)."
    )
    assert said(two, "not settled", low=-0.004).endswith(
        "1.8 points of macro-F1, adjusted p = 0.030, but 95% CI \N{MINUS SIGN}0.4 to 3.1."
    )
    assert "no test over folds" in said(two, "not settled", p_adjusted=NAN)


def test_non_inferiority_states_bound_and_p_or_why_it_is_not_shown(two):
    (pair,) = two.pairs
    shown = NonInferiority(0.02, -0.013, 0.01, shown=True)
    text = non_inferiority_text(two, pair, shown)
    assert text.startswith("a is not inferior to b by a margin of 2.0 points of macro-F1: ")
    for fact in ("1.3 worse", "one-sided p = 0.010", "below 0.025"):
        assert fact in text
    for changes, facts in (
        ({"bound": 0.002, "p": 0.045}, ("0.2 better", "one-sided p = 0.045 is not below 0.025")),
        ({"bound": -0.05}, ("5.0 worse",)),
        ({"p": NAN}, ("1.3 worse", "no test over folds")),
        ({"bound": NAN}, ("no interval",)),
    ):
        text = non_inferiority_text(two, pair, replace(shown, shown=False, **changes))
        assert "of a to b by 2.0 points of macro-F1 is not shown" in text
        assert all(fact in text for fact in facts)


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        (("better", "better", "better"), "a is better than all others in macro-F1."),
        (("worse", "worse", "better"), "b is better than all others in macro-F1."),
        (("better", "worse", "worse"), "<i>c is better than all others in macro-F1."),
        (("better", "not settled", "better"), "2 of 3 pairs differ significantly in macro-F1."),
        (("not settled", "better", NONE), "1 of 3 pairs differ significantly in macro-F1."),
        ((NONE, "not settled", NONE), "No two of the 3 methods differ significantly in macro-F1."),
    ],
)
def test_of_three_rows_the_headline_names_the_one_that_beats_all(three, verdicts, told):
    """The pairs are a and b, a and <i>c, b and <i>c."""
    pairs = [
        replace(pair, comparison=replace(pair.comparison, verdict=word))
        for pair, word in zip(three.pairs, verdicts, strict=True)
    ]
    assert replace(three, pairs=tuple(pairs)).verdict == told


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("ab", "p of this one pair; no other row is ranked"),
        ("abc", "p adjusted over the 3 pairs of 3 rows, ranked or compared (Holm)"),
        ("abcdefgh", "p adjusted over the 28 pairs of 8 rows, ranked or compared (Holm)"),
    ],
)
def test_the_last_sentence_says_over_how_many_pairs_p_is_adjusted(two, family, told):
    *_, last = standfirst(replace(two, family=dict.fromkeys(family, 0.5)))
    assert last == (
        f"240 images of 120 lesions; {told}. Intervals are conditional on the trained models."
    )


def test_the_bayesian_test_gives_a_probability_to_either_row_and_to_equivalence(two):
    (pair,) = two.pairs
    text = bayesian_text(pair, BayesianTest(0.01, a_better=0.7, alike=0.2, b_better=0.1))
    assert text == "P(a is better) = 70.0%, P(b is better) = 10.0%, P(equivalent) = 20.0%."


def test_of_many_pairs_those_told_apart_are_told_and_the_others_counted(two):
    (pair,) = two.pairs
    kinds = ["better", *["not settled"] * 4, *["no difference seen"] * 2]
    pairs = [replace(pair, comparison=replace(pair.comparison, verdict=kind)) for kind in kinds]
    told = standfirst(replace(two, pairs=tuple(pairs)))
    assert sum("is better than" in sentence for sentence in told) == 1
    assert "Of 4 pairs: not settled." in told
    assert "Of 2 pairs: no difference seen." in told


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


def test_rows_that_agree_in_every_resample_agree_in_the_metric_asked_about(two):
    told = said(two, "no difference seen", difference=0.0, low=NAN, high=NAN, p_adjusted=NAN)
    assert told == "a and b have the same macro-F1 in every resample."
    apart = said(two, "no difference seen", low=NAN, high=NAN, p_adjusted=NAN)
    assert apart.startswith("No difference between a and b is detected")


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
    assert found.verdict.startswith("On synthetic data: ")
    assert "<title>Synthetic data: " in render_comparison(found)["index.html"]


def test_the_leaderboard_links_to_its_comparisons():
    board = replace(boards.leaderboard(), tie_groups=(("resnet18", "custom_cnn"),))
    page = render(board, [("compare/x/index.html", "a against b")])["index.html"]
    assert '<a href="compare/x/index.html">a against b</a>' in page
    assert "No significant difference between resnet18 and custom_cnn." in page
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
