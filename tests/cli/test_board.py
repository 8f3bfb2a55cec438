"""What the terminal says of a board."""

from __future__ import annotations

from dataclasses import replace

from bench.cli.board import print_table, told_of_missing
from bench.predictions import RowPredictions, Slot
from tests.report import looked, studies


def test_an_incomplete_row_is_said_to_lack_the_folds_it_lacks(capsys):
    world = looked.world()
    row = world.row("part")
    test = {slot: one for slot, one in row.test.items() if slot.fold != 1}
    found = looked.board(world, [replace(row, test=test), *world.references()])
    print_table(found)
    assert "incomplete: 2 of 3 folds (without 1)" in " ".join(capsys.readouterr().out.split())


def test_what_a_row_lacks_is_told_of_the_protocols_seeds_and_of_its_own():
    world = looked.world()
    row = world.row("part")
    run = world.protocol.run.model_copy(update={"seeds": [0, 1]})
    protocol = world.protocol.model_copy(update={"run": run})
    more = {slot._replace(seed=2): one for slot, one in row.test.items() if slot.fold != 1}
    rows = [replace(row, test={**row.test, **more}), *world.references()]
    (told,) = (
        one.missing
        for one in told_of_missing(looked.board(world, rows), protocol, rows).rows
        if one.name == "part"
    )
    assert told == (*(Slot(1, 0, fold) for fold in range(3)), Slot(2, 0, 1))


def test_of_arms_only_the_ranked_one_is_said_to_lack_folds():
    board = studies.scored("learning-curve")
    protocol = studies.opened("learning-curve").protocol
    rows = [RowPredictions(row.name, row.method, row.kind, {}) for row in board.rows]
    first = next(iter(protocol.split.arm_columns.values()))
    for row in told_of_missing(board, protocol, rows).rows:
        assert [fold for _, _, fold in row.missing] == list(first) * len(protocol.run.seeds)
