"""Sweeps: each fold chooses on val alone, and the optimism is what it is said to be."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from bench.errors import PredictionError, ResultsError
from bench.predictions import Predictions, TrainingKey
from bench.score.sweep import Candidate, choose
from tests.score.cohorts import CLASSES, World

WORLD = World(repeats=2)
SLOTS = [TrainingKey(0, repeat, fold) for repeat in range(2) for fold in range(3)]


def candidate(name, skill=1.5, world=WORLD):
    row = world.row(name, skill)
    return Candidate({"lr": name}, name, row.val, row.test)


def sweep(candidates, world=WORLD):
    return choose("m", candidates, world.protocol, world.dataset, world.roles)


def macro_f1(predictions):
    code = dict(zip(WORLD.dataset.image_ids, WORLD.dataset.labels, strict=True))
    truth = [code[image_id] for image_id in predictions.image_ids]
    return f1_score(truth, predictions.probs.argmax(1), labels=range(4), average="macro")


def test_each_fold_chooses_its_best_by_val():
    candidates = [candidate(name) for name in "abcd"]
    found = sweep(candidates)
    assert [choice.slot for choice in found.choices] == SLOTS
    for choice in found.choices:
        val = {each.row: macro_f1(each.val[choice.slot]) for each in candidates}
        test = {each.row: macro_f1(each.test[choice.slot]) for each in candidates}
        assert choice.candidate.row == max(val, key=val.get)
        assert choice.val == pytest.approx(max(val.values()))
        assert choice.test == pytest.approx(test[choice.candidate.row])
        assert choice.optimism == pytest.approx(choice.val - choice.test)
        gaps = [val[row] - test[row] for row in val]
        assert choice.usual_gap == pytest.approx(np.mean(gaps))
    assert found.test == pytest.approx(np.mean([choice.test for choice in found.choices]))
    assert found.val[0] == pytest.approx(np.mean([macro_f1(candidates[0].val[s]) for s in SLOTS]))


def test_test_predictions_have_no_say_in_the_choice():
    candidates = [candidate(name) for name in "abc"]
    rng = np.random.default_rng(0)

    def muddled(predictions):
        return Predictions(predictions.image_ids, rng.permutation(predictions.probs), CLASSES)

    others = [
        replace(each, test={training: muddled(p) for training, p in each.test.items()})
        for each in candidates
    ]
    chosen = [[c.candidate.row for c in sweep(those).choices] for those in (candidates, others)]
    assert chosen[0] == chosen[1]


def test_choosing_among_many_alike_is_optimistic_and_choosing_one_adds_nothing():
    """The winner's curse, over many draws of candidates of the very same skill."""
    world = World()
    added = [
        sweep([candidate(f"{draw}.{n}", world=world) for n in range(6)], world)
        for draw in range(12)
    ]
    assert np.mean([found.optimism_of_choosing for found in added]) > 0.05
    assert np.mean([found.optimism for found in added]) > 0.05
    alone = sweep([candidate("one")])
    assert alone.optimism_of_choosing == pytest.approx(0)


def test_what_is_not_done_cannot_be_chosen():
    good, bad = candidate("good", 5.0), candidate("bad", 0.0)
    training = SLOTS[1]
    partial = replace(good, val={s: p for s, p in good.val.items() if s != training})
    found = sweep([partial, bad])
    assert {c.slot: c.candidate.row for c in found.choices} == {
        s: "bad" if s == training else "good" for s in SLOTS
    }
    assert [c.among for c in found.choices] == [2, 1, 2, 2, 2, 2]
    nothing = Candidate({}, "none", {}, {})
    assert np.isnan(sweep([nothing, bad]).val[0])
    with pytest.raises(ResultsError, match="m: no finished fold"):
        sweep([nothing])


def test_predictions_of_other_images_are_refused_by_row_and_part():
    one = candidate("one")
    swapped = replace(one, val=one.test)
    with pytest.raises(PredictionError, match="one, val of column 0"):
        sweep([swapped])
