"""Names from elsewhere do no harm, nothing is fetched, files are whole."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace

import pytest

from bench.errors import ResultsError
from bench.report.format import Span, isolated, name, plain, spans
from bench.report.render import render, write
from tests.report import hostile
from tests.report.reading import read

PAGES = ["files", "worst_files"]


@pytest.fixture(params=PAGES)
def text(request) -> str:
    return request.getfixturevalue(request.param)["index.html"]


@pytest.fixture
def tree(text):
    return read(text)


def test_no_name_becomes_an_element_or_a_handler(tree):
    assert len(tree.all("script")) == 1
    assert len(tree.all("style")) == 1
    assert not tree.all("img")
    for element in tree.all():
        assert not [key for key in element.attributes if key.startswith("on")]
        assert "style" not in element.attributes, "the policy would drop it"


def test_hostile_names_are_still_read_in_full(worst_files):
    tree = read(worst_files["index.html"])
    for row, text in zip(range(1, 7), hostile.HOSTILE, strict=False):
        assert " ".join(plain(text).split()) in tree.by_id(f"row-{row}").text
    assert "{{ 7 * 7 }}" in tree.one("h1").text


def test_links_go_into_the_page_to_its_files_or_to_https(tree, files):
    ids = [one.attributes["id"] for one in tree.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for link in tree.all("a"):
        target = link.attributes["href"]
        if target.startswith("#"):
            assert target[1:] in ids
        elif target not in files:
            assert target.startswith("https://")
            assert "noreferrer" in link.attributes["rel"]


def test_nothing_is_fetched(text, tree):
    assert not [
        one for one in tree.all() if {"src", "srcset", "action", "data"} & set(one.attributes)
    ]
    assert [one.attributes["href"] for one in tree.all("link")] == ["data:,"]
    own = tree.one("style").text + tree.one("script").text
    assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttp|import\(", own)
    assert "<base" not in text


def test_the_policy_lets_in_this_style_and_script_only(text, tree):
    policy = next(
        one.attributes["content"]
        for one in tree.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert content is not None
        made = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{made}'" in policy


def test_tables_have_captions_and_headings_have_scope(tree):
    for table in tree.all("table"):
        assert table.one("caption").text
    for heading in tree.all("th"):
        assert heading.attributes["scope"] in ("row", "col")


def test_direction_and_control_characters_are_spelled_out():
    assert plain("a\u202egnp.exe\x00") == "a\\u202egnp.exe\\u0000"
    assert plain("two\nlines", lines=True) == "two\nlines"
    assert isolated("resnet18") == "resnet18"
    assert isolated("\u05e9") == "\u2068\u05e9\u2069"


def test_long_names_are_cut_for_tables_and_kept_whole_elsewhere():
    long = name("x" * 300)
    assert (len(long.short), len(long.full)) == (48, 300)
    assert "".join(name("resnet18@3f-a_b.c/d").pieces) == "resnet18@3f-a_b.c/d"


def test_only_https_becomes_a_link():
    links = [span.url for span in spans("javascript:a http://b.c (https://doi.org/10.1/x).")]
    assert [url for url in links if url] == ["https://doi.org/10.1/x"]
    assert spans("Sci Data (2018). doi:10.1038/s.161.")[1] == Span(
        "doi:10.1038/s.161", "https://doi.org/10.1038/s.161"
    )


def test_the_same_leaderboard_gives_the_same_bytes(board, files):
    assert render(board) == files


def test_six_methods_stay_far_below_two_megabytes(files):
    assert len(files["index.html"].encode()) < 500_000


def test_fifty_methods_stay_below_five_megabytes(board):
    rows = [
        replace(board.rows[i % 3], name=f"method_{i}", rank=board.rows[i % 3].rank)
        for i in range(47)
    ]
    metrics = (*board.metrics, *(f"other_{i}" for i in range(9)))
    more = {f"other_{i}": board.rows[0].table.metrics["mcc"] for i in range(9)}
    rows = [
        replace(row, table=replace(row.table, metrics={**row.table.metrics, **more}))
        for row in rows
    ]
    started = time.perf_counter()
    page = render(replace(board, rows=(*rows, *board.rows[3:]), metrics=metrics))["index.html"]
    assert len(page.encode()) < 5_000_000
    assert time.perf_counter() - started < 30


def test_files_are_written_whole_and_leave_no_trace(files, tmp_path):
    folder = tmp_path / "new" / "leaderboard"
    write(files, folder)
    write(files, folder)
    assert {path.name for path in folder.iterdir()} == set(files)
    for name_, text in files.items():
        assert (folder / name_).read_bytes().decode() == text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ResultsError, match=r"taken.*cannot write"):
        write({"index.html": ""}, tmp_path / "taken")


def test_a_failed_write_keeps_the_old_files_and_no_part(tmp_path):
    write({"index.html": "old"}, tmp_path)
    (tmp_path / "leaderboard.csv").mkdir()
    with pytest.raises(ResultsError):
        write({"leaderboard.csv": "new", "index.html": "new"}, tmp_path)
    assert (tmp_path / "index.html").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "leaderboard.csv"}


def test_a_name_that_is_no_unicode_text_is_written_as_its_escape(tmp_path):
    write({"leaderboard.json": '"a\udc80"'}, tmp_path)
    assert (tmp_path / "leaderboard.json").read_text() == '"a\\udc80"'
