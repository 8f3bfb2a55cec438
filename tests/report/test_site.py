"""A site is whole, the same bytes for the same input, and harmless whatever a row is called."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest

from bench.report.eda_page import gallery
from bench.report.site import Content, index_page, listed_files, render_site
from tests.report import boards, sites
from tests.report.reading import read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("offers")


@pytest.fixture(scope="module")
def made(folder):
    return sites.two_boards(folder)


@pytest.fixture(scope="module")
def files(made) -> dict[str, Content]:
    return render_site(made, ["groupkfold5 on <b>else</b>: its metadata was not given"])


def text(files: dict[str, Content], name: str) -> str:
    content = files[name]
    assert isinstance(content, bytes)
    return content.decode()


def pages(files: dict[str, Content]) -> list[str]:
    return [name for name in files if name.endswith(".html")]


def test_every_link_is_relative_and_leads_to_a_file_or_outside_by_https(files):
    for name in pages(files):
        tree = read(text(files, name))
        ids = {one.attributes.get("id") for one in tree.all()}
        for link in [*tree.all("a"), *tree.all("link")]:
            target = urlsplit(link.attributes["href"])
            if target.scheme:
                assert target.scheme in ("https", "data")
                continue
            if not target.path:
                assert target.fragment in ids
                continue
            assert not target.path.startswith("/")
            parts: list[str] = []
            for part in (PurePosixPath(name).parent / unquote(target.path)).parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            assert "/".join(parts) in files, f"{name} links to {target.path}"


def test_file_names_are_plain_and_never_differ_by_case_alone(files):
    for name in files:
        assert all(char.isascii() and (char.isalnum() or char in "@_.-/") for char in name)
        assert ".." not in PurePosixPath(name).parts
        assert max(map(len, PurePosixPath(name).parts)) < 120
    assert len({name.casefold() for name in files}) == len(files)


def test_the_checksums_are_of_every_file(files):
    import hashlib

    lines = [line.split("  ") for line in text(files, "SHA256SUMS").splitlines()]
    assert {path for _, path in lines} | {"SHA256SUMS"} == set(files)
    assert listed_files(text(files, "SHA256SUMS")) == set(files)
    for told, path in lines:
        content = files[path]
        data = content.read_bytes() if isinstance(content, Path) else content
        assert hashlib.sha256(data).hexdigest() == told


def test_no_name_becomes_an_element_a_handler_or_a_formula(files):
    for name in pages(files):
        tree = read(text(files, name))
        assert len(tree.all("script")) == 1
        for element in tree.all():
            assert not [key for key in element.attributes if key.startswith("on")]
            assert "style" not in element.attributes
    for name in files:
        if name.endswith(".csv"):
            for row in csv.reader(io.StringIO(text(files, name))):
                for cell in row:
                    number = cell.lstrip("-").replace(".", "").replace("e-", "").isdigit()
                    assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_the_index_has_every_board_with_its_first_row(made, files):
    tree = read(text(files, "index.html"))
    rows = [row for table in tree.all("table") for row in table.one("tbody").all("tr")]
    assert len(rows) == len(made)
    assert "efficientnet_phase4" in rows[0].text
    assert "0.6" in rows[0].text
    assert "<b>else</b>: its metadata was not given" in tree.by_id("files").text
    told = json.loads(text(files, "boards.json"))
    assert [one["href"] for one in told] == [f"{one.folder}/index.html" for one in made]
    table = list(csv.DictReader(io.StringIO(text(files, "boards.csv"))))
    assert len(table) == sum(len(one.study.board.rows) for one in made)


@pytest.mark.parametrize(
    ("units", "by", "respected"),
    [
        (["patient"], "compared by patient", "images of one patient are not independent;"),
        (["lesion"], "compared by lesion", "images of one lesion are not independent;"),
        (["lesion", "patient"], "by patient and by lesion", "of one patient or lesion are not"),
        (["image"], "compared by image", "assume independent images"),
        (["image", "lesion"], "by lesion and by image", "independent, if the data have ids;"),
    ],
)
def test_the_index_claims_no_more_than_the_units_of_its_boards(units, by, respected):
    made = [
        sites.board(replace(boards.leaderboard(), dataset=boards.dataset(unit=unit)))
        for unit in units
    ]
    page = index_page(made, [], [])
    assert by in page["title"]
    assert respected in page["standfirst"][0]
    assert ("by patient" in page["title"]) == ("patient" in units)
    assert "very number" not in " ".join(page["standfirst"])


def test_the_same_boards_give_the_same_bytes(folder, files):
    again = render_site(
        sites.two_boards(folder), ["groupkfold5 on <b>else</b>: its metadata was not given"]
    )
    assert again == files


def test_a_removed_row_is_gone_from_every_file(made):
    more = replace(boards.leaderboard(), rows=(*boards.leaderboard().rows, boards.row("leaving")))
    (offer,) = [replace(made[0].offers[0], name="results/leaving.csv", row="leaving")]
    before = render_site([sites.board(more, [*made[0].offers, offer])])
    after = render_site([sites.board(boards.leaderboard(), made[0].offers)])
    assert set(before) - set(after) == {"results/leaving.csv"}
    assert b"leaving" in before["index.html"] or b"leaving" in before["boards.csv"]
    for name, content in after.items():
        assert isinstance(content, Path) or b"leaving" not in content, name


def test_without_images_no_page_holds_one_and_the_index_says_so(files):
    for name in pages(files):
        assert "<img" not in text(files, name)
        assert "data:image" not in text(files, name)
    assert "No image of a patient is part of this site" in text(files, "index.html")
    assert not any(name.endswith((".png", ".jpg", ".jpeg")) for name in files)


def test_with_images_a_page_says_which(made):
    shown = gallery("mel", [("IMG_<1>", b"\xff\xd8small")], {"IMG_<1>": "mel"})
    more = render_site([replace(made[0], galleries=(shown,))])
    tree = read(text(more, "groupkfold5/synthetic/images.html"))
    (picture,) = tree.all("img")
    assert picture.attributes["alt"] == "IMG_<1>, mel"
    assert "Small copies of 1 image" in tree.text
    assert "the pictures page of a leaderboard lists them" in text(more, "index.html")
