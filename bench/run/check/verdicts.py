"""The checks of `method check`: each judges the probes and returns a message with the fix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from bench.predictions import Predictions
from bench.run.check.probe import FOLDS, LOG, Cohort, Outcome
from bench.run.results import HISTORY, PREDICTIONS, read_history, read_predictions

MOST_LOSS = 0.1
"""Training loss of one batch that the bench's engine must reach."""
MEMORISED = 0.9
"""Share of one batch that a method with its own training must predict correctly; or else it must
reach half of the loss of uniform predictions, since it need not be confident."""
ROUNDING = 1e-4
"""Difference of probabilities that another order of the same arithmetic can cause."""
SWAPPED = 0.2
"""Gain in mean probability by exchanging columns above which the class order counts as wrong."""
PERMUTATIONS, CHANCE_LEVEL = 20_000, 0.9999


@dataclass(frozen=True)
class Verdict:
    """The result of a check; passed is None if it was not reached."""

    check: str
    passed: bool | None
    message: str


@dataclass(frozen=True)
class ProbeResults:
    """The outcomes of all probes.

    changed  names of the input files that a probe has changed, by probe
    engine   whether the bench's engine trains the method
    """

    cohort: Cohort
    outcomes: Mapping[str, Outcome]
    changed: Mapping[str, list[str]]
    engine: bool

    def predictions(self, probe: str) -> Predictions | None:
        """The test predictions of a probe; None if it has not finished."""
        outcome = self.outcomes.get(probe)
        if outcome is None or not outcome.ok:
            return None
        path = outcome.probe.folder / PREDICTIONS
        return read_predictions(path, self.cohort.dataset.classes)

    @property
    def reproducible(self) -> bool:
        """Whether the same task gave bit-equal predictions in two processes."""
        first, again = self.predictions("fold 0"), self.predictions("again")
        return first is not None and again is not None and _difference(first, again) == 0


Result = tuple[bool | None, str]
Check = Callable[[ProbeResults], Result]
NOT_REACHED: Result = (None, "not reached")


def within_limit(excess: str, failure: str, success: str = "within the limit") -> Check:
    """No probe exceeded a limit.

    failure  message with {probe} and {seconds} of the one that did
    success  message with the {count} of probes and the {seconds} of the longest
    """

    def check(results: ProbeResults) -> Result:
        for name, outcome in results.outcomes.items():
            if outcome.excess == excess:
                return False, failure.format(probe=name, seconds=outcome.seconds)
        seconds = max(outcome.seconds for outcome in results.outcomes.values())
        return True, success.format(count=len(results.outcomes), seconds=seconds)

    return check


def same_predictions(
    failures: Mapping[str, str], success: str, *, tolerance: float = 0, repeated: bool = True
) -> Check:
    """Each of these probes predicts what fold 0 predicts.

    failures  by probe, the message with {difference}, the largest difference of probabilities
    repeated  not reached if two runs of the same task differ already
    """

    def check(results: ProbeResults) -> Result:
        first = results.predictions("fold 0")
        if first is None or (repeated and not results.reproducible):
            return NOT_REACHED
        for probe, failure in failures.items():
            other = results.predictions(probe)
            if other is None:
                return NOT_REACHED
            difference = _difference(first, other)
            if difference > tolerance:
                return False, failure.format(difference=f"{difference:.2g}")
        return True, success

    return check


def runs_in_every_fold(results: ProbeResults) -> Result:
    """Each fold finishes, whatever it predicts."""
    folds = {fold: results.outcomes.get(f"fold {fold}") for fold in range(FOLDS)}
    for fold, outcome in folds.items():
        if outcome is not None and outcome.fault and outcome.kind != "predictions":
            return False, f"fold {fold}: {outcome.fault}; see {outcome.probe.folder / LOG}"
    if any(outcome is None or outcome.excess for outcome in folds.values()):
        return NOT_REACHED
    return True, f"all {FOLDS}"


def gives_sound_predictions(results: ProbeResults) -> Result:
    """Probabilities are finite, of the right shape, for the right images."""
    for name, outcome in results.outcomes.items():
        if outcome.kind == "predictions":
            return False, (
                f"{name}: {outcome.fault.removeprefix('PredictionError: ')}; return "
                "Predictions(part.image_ids, probs (N, C), task.classes) with rows that sum to 1"
            )
    test = results.predictions("fold 0")
    if test is None:
        return NOT_REACHED
    images, classes = test.probs.shape
    return True, f"finite, {images} images x {classes} classes, correct ids"


def learns_one_batch(results: ProbeResults) -> Result:
    """A few images that are train, val and test can be memorised."""
    batch = results.predictions("one batch")
    if batch is None:
        return NOT_REACHED
    labels = results.cohort.labels(batch.image_ids)
    uniform = math.log(len(batch.classes))
    if results.engine:
        history = read_history(results.outcomes["one batch"].probe.folder / HISTORY)
        loss = min(history["train_loss"])
        passed = loss < MOST_LOSS
        message = f"loss {loss:.3f} on {len(labels)} images (uniform: {uniform:.2f})"
        fix = "try another lr; check the forward pass, the normalisation, the frozen layers"
    else:
        probs = batch.probs[:, _best_columns(batch.probs, labels)]
        loss = float(-np.log(probs[np.arange(len(labels)), labels].clip(1e-12)).mean())
        correct = int((probs.argmax(axis=1) == labels).sum())
        passed = correct >= MEMORISED * len(labels) or loss < uniform / 2
        message = (
            f"{correct} of {len(labels)} images correct, loss {loss:.2f} (uniform: {uniform:.2f})"
        )
        fix = "check that images and labels match; reduce the regularisation"
    return passed, message if passed else f"{message}; {fix}"


def keeps_the_class_order(results: ProbeResults) -> Result:
    """The columns are the classes in the task's order."""
    batch = results.predictions("one batch")
    if batch is None:
        return NOT_REACHED
    labels = results.cohort.labels(batch.image_ids)
    means = _mean_by_class(batch.probs, labels)
    columns = _best_columns(batch.probs, labels)
    gain = (means[np.arange(len(means)), columns] - np.diag(means)).mean()
    if gain <= SWAPPED:
        return True, "columns are task.classes"
    first = np.flatnonzero(columns != np.arange(len(columns)))[0]
    return False, (
        f"the probability of {batch.classes[first]} is in the column of "
        f"{batch.classes[columns[first]]}; order the columns as task.classes (scikit-learn's order "
        "is model.classes_)"
    )


def leaves_its_inputs_alone(results: ProbeResults) -> Result:
    """Image cache, fold tables and metadata are unchanged."""
    for name, files in results.changed.items():
        if files:
            return False, f"{name} changed {files[0]}; work on copies, write into task.folder"
    return (True, "cache and tables unchanged") if "fold 0" in results.changed else NOT_REACHED


def learns_nothing_from_permuted_labels(results: ProbeResults) -> Result:
    """After training on permuted labels, the accuracy is not above chance."""
    first, permuted = results.predictions("fold 0"), results.predictions("permuted labels")
    if first is None or permuted is None:
        return NOT_REACHED
    limit = chance(results.cohort, permuted)
    before, after = (accuracy(results.cohort, each) for each in (first, permuted))
    message = f"test accuracy {before:.2f}, with permuted labels of train {after:.2f}"
    if after > limit:
        return False, (
            f"{message}, above the limit of chance ({limit:.2f}): labels come from outside of "
            "task.train; use only the task"
        )
    return True, f"{message} (limit of chance: {limit:.2f})"


def stops_on_sigterm(results: ProbeResults) -> Result:
    """After SIGTERM the method ends together with the processes that it has started."""
    outcome = results.outcomes.get("stopped")
    if outcome is None:
        return NOT_REACHED
    if outcome.excess == "stop":
        return False, (
            f"still running {outcome.stopping:.0f} s after SIGTERM, then killed; end on the "
            "signal, or unsaved work is lost"
        )
    if not outcome.interrupted:
        return True, "finished before the signal"
    return True, f"{outcome.stopping:.1f} s after SIGTERM; no process left"


def resumes(results: ProbeResults) -> Result:
    """Started again in the folder of the stopped probe, it predicts what fold 0 predicts."""
    outcome = results.outcomes.get("resumed")
    if outcome is not None and outcome.fault:
        return False, f"{outcome.fault}; write saved state atomically, or start from scratch"
    return same_predictions(
        {
            "resumed": "after an interruption probabilities differ by up to {difference}; save all "
            "state (weights, optimizer, random numbers) in task.folder, or none"
        },
        "stopped and resumed, bit-equal",
    )(results)


CHECKS: Mapping[str, Check] = {
    "ends in time": within_limit(
        "time",
        "{probe} had not ended after {seconds:.0f} s; find what it waits for, or raise --seconds",
        "the longest of {count} trainings took {seconds:.1f} s",
    ),
    "keeps its log short": within_limit(
        "log", "{probe} flooded its log; print less; task.journal.epoch() keeps numbers of an epoch"
    ),
    "keeps to its memory": within_limit(
        "memory",
        "{probe} took too much; load images in batches (part.images.take(positions)), or raise "
        "--memory",
    ),
    "runs in every fold": runs_in_every_fold,
    "gives sound predictions": gives_sound_predictions,
    "learns one batch": learns_one_batch,
    "keeps the class order": keeps_the_class_order,
    "gives the same twice": same_predictions(
        {
            "again": "probabilities differ by up to {difference}; seed every library, and "
            "np.random.default_rng([task.seed, task.column])"
        },
        "bit-equal",
        repeated=False,
    ),
    "ignores the order of test images": same_predictions(
        {
            "shuffled": "shuffling the test images changes probabilities by up to {difference}; "
            "return each prediction with the id of its image",
            "halved": "removing half of the test images changes probabilities by up to "
            "{difference}; predict in evaluation mode: model.eval()",
        },
        "shuffled or halved, predictions are the same",
        tolerance=ROUNDING,
    ),
    "leaves its inputs alone": leaves_its_inputs_alone,
    "learns nothing from permuted labels": learns_nothing_from_permuted_labels,
    "knows no test labels": same_predictions(
        {
            "altered test labels": "changing test labels in the metadata file changes "
            "probabilities by up to {difference}: the method reads the file; use only the task"
        },
        "changing them in the metadata file has no effect",
    ),
    "stops on SIGTERM": stops_on_sigterm,
    "resumes": resumes,
}


def verdicts_of(results: ProbeResults) -> list[Verdict]:
    """The verdicts of all checks, in order."""
    return [Verdict(name, *check(results)) for name, check in CHECKS.items()]


def accuracy(cohort: Cohort, predictions: Predictions) -> float:
    """Share of images whose most probable class is the label."""
    labels = cohort.labels(predictions.image_ids)
    return float((predictions.probs.argmax(axis=1) == labels).mean())


def chance(cohort: Cohort, predictions: Predictions) -> float:
    """Accuracy that the predictions exceed with probability 1e-4 over permutations of the labels.

    Each image is of another patient, so labels are exchangeable.
    """
    rng = np.random.default_rng(0)
    labels = cohort.labels(predictions.image_ids)
    predicted = predictions.probs.argmax(axis=1)
    permuted = rng.permuted(np.tile(labels, (PERMUTATIONS, 1)), axis=1)
    return float(np.quantile((permuted == predicted).mean(axis=1), CHANCE_LEVEL))


def _difference(first: Predictions, other: Predictions) -> float:
    """Largest difference of probabilities over the images of `other`."""
    rows = pd.Index(first.image_ids).get_indexer(other.image_ids)
    return float(np.abs(first.probs[rows] - other.probs).max())


def _mean_by_class(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean probabilities (C, C): one row per true class."""
    return np.array([probs[labels == label].mean(axis=0) for label in range(probs.shape[1])])


def _best_columns(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The assignment (C,) of columns to classes with the largest mean probability."""
    _, columns = linear_sum_assignment(-_mean_by_class(probs, labels))
    return np.asarray(columns)
