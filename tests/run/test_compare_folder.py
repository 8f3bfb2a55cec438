"""Where pages of comparisons lie, and how they are found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.run.published import compared_pages
from bench.run.results import compare_folder
from tests.report.comparisons import compared


def test_every_comparison_has_a_folder_of_its_own_inside_the_leaderboards():
    board = Path("board")
    asked = [
        ("a", "b"),
        ("b", "a"),
        ("a", "b", "c"),
        ("a/..", "b"),
        ("a_..", "b"),
        ("..", ".."),
        ("x" * 300, "y"),
        ("x" * 300, "z"),
        ("a-vs-b", "c"),
        ("a", "b-vs-c"),
    ]
    found = [compare_folder(board, rows) for rows in asked]
    found += [compare_folder(board, ("a", "b"), "ece"), compare_folder(board, ("a", "b"), "mcc")]
    assert len(set(found)) == len(asked) + 2
    assert {path.parent for path in found} == {board / "compare"}
    assert max(len(path.name) for path in found) <= 120
    assert found[0].name == "a-vs-b"


def test_pages_are_listed_by_their_rows_and_others_files_left_alone(tmp_path):
    report = compared("a", "b")
    for rows in (("z", "a"), ("b@1", "c#")):
        folder = compare_folder(tmp_path, rows)
        folder.mkdir(parents=True)
        (folder / "index.html").write_text("")
        (folder / "comparison.json").write_text(replace(report, rows=rows).to_json())
    broken = tmp_path / "compare" / "broken"
    broken.mkdir()
    (broken / "comparison.json").write_text("{")
    (tmp_path / "compare" / "list").mkdir()
    (tmp_path / "compare" / "list" / "comparison.json").write_text("[]")
    there = ["z", "a", "b@1", "c#"]
    first, second = compared_pages(tmp_path, there)
    assert first[1] == "b@1 against c#, by macro f1"
    assert second[1] == "z against a, by macro f1"
    assert second[0] == "compare/z-vs-a/index.html"
    assert "#" not in first[0]
    assert compared_pages(tmp_path, there[:3]) == [second]  # one row of the first is gone
    assert compared_pages(tmp_path / "nowhere", there) == []
