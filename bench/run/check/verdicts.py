"""What each check says of the probes: a line that is green, or tells what is wrong and the cure."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from bench.predictions import Predictions
from bench.run.check.probe import FOLDS, Cohort, Outcome
from bench.run.results import HISTORY, PREDICTIONS, read_predictions

NEAR_ZERO, BY_HEART = 0.1, 0.9
"""Loss of one batch that the engine's training must come to; the share of a batch that a method
which trains itself must get right, or else have half of the loss of knowing nothing: it need not
be sure of what it has learnt."""
SAME = 1e-4
"""Difference of probabilities that another order of the same arithmetic may make."""
SWAPPED = 0.2
"""Mean probability that must be gained by other columns before their order is called wrong."""
CHANCE_DRAWS, CHANCE_LEVEL = 20_000, 0.9999


@dataclass(frozen=True)
class Verdict:
    """One check: passed is None where it was not reached."""

    check: str
    passed: bool | None
    said: str


@dataclass(frozen=True)
class Findings:
    """All that the probes have brought. changed: input files that a probe has altered, by probe."""

    cohort: Cohort
    outcomes: Mapping[str, Outcome]
    changed: Mapping[str, list[str]]
    engine: bool

    def predictions(self, name: str) -> Predictions | None:
        """The test predictions of a probe that came to its end."""
        outcome = self.outcomes.get(name)
        if outcome is None or not outcome.ok:
            return None
        path = outcome.probe.folder / PREDICTIONS
        return read_predictions(path, self.cohort.manifest.classes)


Check = Callable[[Findings], tuple[bool | None, str]]
NOT_REACHED = (None, "not reached")


def ends_in_time(found: Findings) -> tuple[bool | None, str]:
    """No probe ran into the deadline."""
    late = _with_excess(found, "time")
    if late:
        return False, (
            f"{late} had not ended after {found.outcomes[late].seconds:.0f} s; look at what it "
            "waits for, or give it more with --seconds"
        )
    seconds = max(each.seconds for each in found.outcomes.values())
    return True, f"the longest of {len(found.outcomes)} trainings took {seconds:.1f} s"


def keeps_its_log_short(found: Findings) -> tuple[bool | None, str]:
    """No probe flooded its log."""
    loud = _with_excess(found, "log")
    cure = "print less; task.journal.epoch() keeps numbers of an epoch"
    return not loud, f"{loud} flooded its log; {cure}" if loud else "it does"


def keeps_to_its_memory(found: Findings) -> tuple[bool | None, str]:
    """No probe took more memory than is given to it."""
    greedy = _with_excess(found, "memory")
    cure = "take images by parts (part.images.take(positions)), or allow more with --memory"
    return not greedy, f"{greedy} took too much; {cure}" if greedy else "it does"


def runs_in_every_fold(found: Findings) -> tuple[bool | None, str]:
    """Each fold came to an end, whatever it predicted."""
    folds = {fold: found.outcomes.get(f"fold {fold}") for fold in range(FOLDS)}
    for fold, outcome in folds.items():
        if outcome is not None and outcome.fault and outcome.kind != "predictions":
            log = outcome.probe.folder / "log.txt"
            return False, f"fold {fold}: {outcome.fault}; the whole story: {log}"
    reached = [outcome for outcome in folds.values() if outcome is not None]
    if len(reached) < FOLDS or any(outcome.excess for outcome in reached):
        return NOT_REACHED
    return True, f"all {FOLDS}"


def gives_sound_predictions(found: Findings) -> tuple[bool | None, str]:
    """Finite probabilities of the right shape, for the right images."""
    for name, outcome in found.outcomes.items():
        if outcome.kind == "predictions":
            return False, (
                f"{name}: {outcome.fault.removeprefix('PredictionError: ')}; give "
                "Predictions(part.image_ids, probs (N, C), task.classes), rows that sum to 1"
            )
    test = found.predictions("fold 0")
    if test is None:
        return NOT_REACHED
    return True, f"finite, {test.probs.shape[0]} images x {test.probs.shape[1]} classes, right ids"


def learns_one_batch(found: Findings) -> tuple[bool | None, str]:
    """A few images that are all it is given can be learnt by heart."""
    batch = found.predictions("one batch")
    if batch is None:
        return NOT_REACHED
    labels = found.cohort.labels(batch.image_ids)
    nothing = math.log(len(batch.classes))
    if found.engine:
        loss = _least_train_loss(found.outcomes["one batch"])
        said = f"loss {loss:.3f} on {len(labels)} images (knowing nothing: {nothing:.2f})"
        cure = "try another lr; look at the forward pass, the normalisation, what is frozen"
        return loss < NEAR_ZERO, said if loss < NEAR_ZERO else f"{said}; {cure}"
    probs = batch.probs[:, _best_columns(batch.probs, labels)]
    loss = float(-np.log(probs[np.arange(len(labels)), labels].clip(1e-12)).mean())
    right = int((probs.argmax(axis=1) == labels).sum())
    said = f"{right} of {len(labels)} images, loss {loss:.2f} (knowing nothing: {nothing:.2f})"
    learnt = right >= BY_HEART * len(labels) or loss < nothing / 2
    cure = "do images and labels belong together? is the penalty too strong?"
    return learnt, said if learnt else f"{said}; {cure}"


def keeps_the_class_order(found: Findings) -> tuple[bool | None, str]:
    """The columns are the classes in the task's order."""
    batch = found.predictions("one batch")
    if batch is None:
        return NOT_REACHED
    labels = found.cohort.labels(batch.image_ids)
    table = _mean_by_class(batch.probs, labels)
    columns = _best_columns(batch.probs, labels)
    gained = (table[np.arange(len(table)), columns] - np.diag(table)).mean()
    wrong = np.flatnonzero(columns != np.arange(len(columns)))
    if gained > SWAPPED:
        first, name = wrong[0], batch.classes
        return False, (
            f"images of {name[first]} get their probability in the column of "
            f"{name[columns[first]]}; order the columns as task.classes (scikit-learn's order is "
            "model.classes_)"
        )
    return True, "columns are task.classes"


def gives_the_same_twice(found: Findings) -> tuple[bool | None, str]:
    """The same task, in another process, gives the same bits."""
    one, other = found.predictions("fold 0"), found.predictions("again")
    if one is None or other is None:
        return NOT_REACHED
    off = _difference(one, other)
    if off > 0:
        return False, (
            f"probabilities differ by up to {off:.2g}; draw from "
            "np.random.default_rng([task.seed, task.column]), and seed every library with it"
        )
    return True, "bit for bit"


def ignores_the_order_of_test_images(found: Findings) -> tuple[bool | None, str]:
    """Another order, or other company, changes no image's prediction."""
    whole, steady = found.predictions("fold 0"), gives_the_same_twice(found)[0]
    if whole is None or not steady:
        return NOT_REACHED
    for name, how, cure in (
        ("shuffled", "shuffling the test images", "give back the ids of the very images predicted"),
        (
            "halved",
            "leaving half of the test images out",
            "predict in evaluation mode: model.eval()",
        ),
    ):
        other = found.predictions(name)
        if other is None:
            return NOT_REACHED
        off = _difference(whole, other)
        if off > SAME:
            return False, f"{how} changes probabilities by up to {off:.2g}; {cure}"
    return True, "shuffled or halved, the test part is predicted the same"


def leaves_its_inputs_alone(found: Findings) -> tuple[bool | None, str]:
    """Store, fold tables and metadata are what they were."""
    for name, files in found.changed.items():
        if files:
            return False, f"{name} changed {files[0]}; work on copies, write into task.folder"
    return (True, "store and tables untouched") if "fold 0" in found.changed else NOT_REACHED


def learns_nothing_from_permuted_labels(found: Findings) -> tuple[bool | None, str]:
    """Trained on labels dealt at random, it is no better than chance."""
    true, permuted = found.predictions("fold 0"), found.predictions("permuted labels")
    if true is None or permuted is None:
        return NOT_REACHED
    reached = chance(found.cohort, permuted)
    before, after = (accuracy(found.cohort, each) for each in (true, permuted))
    said = f"test accuracy {before:.2f}, after permuting train's labels {after:.2f}"
    if after > reached:
        return False, (
            f"{said}, which chance does not reach ({reached:.2f}): labels come from elsewhere than "
            "task.train; use nothing but the task"
        )
    return True, f"{said} (chance reaches {reached:.2f})"


def knows_no_test_labels(found: Findings) -> tuple[bool | None, str]:
    """Altering the test labels where the data lies changes no prediction."""
    one, other = found.predictions("fold 0"), found.predictions("altered test labels")
    if one is None or other is None or not gives_the_same_twice(found)[0]:
        return NOT_REACHED
    off = _difference(one, other)
    if off > 0:
        return False, (
            f"altering test labels in the data's metadata changes probabilities (by {off:.2g}), so "
            "it reads them; use nothing but the task"
        )
    return True, "altering them in the data's metadata changes nothing"


def stops_when_told(found: Findings) -> tuple[bool | None, str]:
    """After SIGTERM it ends, and what it has started ends with it."""
    outcome = found.outcomes.get("stopped")
    if outcome is None:
        return NOT_REACHED
    if outcome.excess == "stop":
        return False, (
            f"still there {outcome.stopping:.0f} s after SIGTERM, and killed; let the signal end "
            "it, or what it has not written is lost"
        )
    if not outcome.told:
        return True, "it had ended by itself before it could be told"
    return True, f"{outcome.stopping:.1f} s after SIGTERM, and nothing is left running"


def resumes(found: Findings) -> tuple[bool | None, str]:
    """Started again in the folder of the stopped one, it gives what an unbroken run gives."""
    one, other = found.predictions("fold 0"), found.predictions("resumed")
    outcome = found.outcomes.get("resumed")
    if outcome is not None and outcome.fault:
        return False, f"{outcome.fault}; write what must survive atomically, or start afresh"
    if one is None or other is None or not gives_the_same_twice(found)[0]:
        return NOT_REACHED
    off = _difference(one, other)
    if off > 0:
        return False, (
            f"after an interruption probabilities differ by up to {off:.2g}; keep all state "
            "(weights, optimizer, random numbers) in task.folder, or none"
        )
    return True, "stopped and started again, it ends in the same bits"


CHECKS: Mapping[str, Check] = {
    "ends in time": ends_in_time,
    "keeps its log short": keeps_its_log_short,
    "keeps to its memory": keeps_to_its_memory,
    "runs in every fold": runs_in_every_fold,
    "gives sound predictions": gives_sound_predictions,
    "learns one batch": learns_one_batch,
    "keeps the class order": keeps_the_class_order,
    "gives the same twice": gives_the_same_twice,
    "ignores the order of test images": ignores_the_order_of_test_images,
    "leaves its inputs alone": leaves_its_inputs_alone,
    "learns nothing from permuted labels": learns_nothing_from_permuted_labels,
    "knows no test labels": knows_no_test_labels,
    "stops when told": stops_when_told,
    "resumes": resumes,
}


def judged(found: Findings) -> list[Verdict]:
    """All checks, in order."""
    return [Verdict(name, *check(found)) for name, check in CHECKS.items()]


def accuracy(cohort: Cohort, predictions: Predictions) -> float:
    """Share of images whose largest probability is that of their class."""
    labels = cohort.labels(predictions.image_ids)
    return float((predictions.probs.argmax(axis=1) == labels).mean())


def chance(cohort: Cohort, predictions: Predictions) -> float:
    """Accuracy that these predictions reach in one of 10,000 dealings of the labels: each image is
    another patient's, so labels may be exchanged."""
    rng = np.random.default_rng(0)
    labels = cohort.labels(predictions.image_ids)
    called = predictions.probs.argmax(axis=1)
    dealt = rng.permuted(np.tile(labels, (CHANCE_DRAWS, 1)), axis=1)
    return float(np.quantile((dealt == called).mean(axis=1), CHANCE_LEVEL))


def _with_excess(found: Findings, excess: str) -> str:
    """The first probe that broke a limit, or ""."""
    return next((name for name, each in found.outcomes.items() if each.excess == excess), "")


def _difference(one: Predictions, other: Predictions) -> float:
    """Largest difference of probabilities over the images of `other`."""
    chosen = Predictions(other.image_ids, one.probs[_positions(one, other.image_ids)], one.classes)
    return float(np.abs(chosen.probs - other.probs).max())


def _positions(predictions: Predictions, image_ids: np.ndarray) -> list[int]:
    where = {image_id: row for row, image_id in enumerate(predictions.image_ids.tolist())}
    return [where[image_id] for image_id in image_ids.tolist()]


def _mean_by_class(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean probabilities (C, C): a row a true class, a column a column."""
    return np.array([probs[labels == label].mean(axis=0) for label in range(probs.shape[1])])


def _best_columns(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The column (C,) that fits each class best, each column once."""
    _, columns = linear_sum_assignment(-_mean_by_class(probs, labels))
    return np.asarray(columns)


def _least_train_loss(outcome: Outcome) -> float:
    with (outcome.probe.folder / HISTORY).open(encoding="utf-8", newline="") as stream:
        rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    return min(float(row["train_loss"]) for row in rows)
