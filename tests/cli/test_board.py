"""What the terminal says of a board."""

from __future__ import annotations

from dataclasses import replace

from bench.cli.terminal import print_table
from tests.report import reported_rows


def test_an_incomplete_row_is_said_to_lack_the_folds_it_lacks(capsys):
    world = reported_rows.world()
    row = world.row("part")
    test = {slot: one for slot, one in row.test.items() if slot.fold != 1}
    found = reported_rows.board(world, [replace(row, test=test), *world.references()])
    print_table(found)
    assert "incomplete: 2 of 3 folds (without 1)" in " ".join(capsys.readouterr().out.split())
