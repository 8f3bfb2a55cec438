"""Small cohorts, rows and runs with known shapes, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bench.dataset import Dataset, Record
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import PARTS, Interval, Metrics, Protocol, Roles, Run, Split
from bench.score.bootstrap import Plan, sort_scores, weighted_sums
from bench.score.join import Run as ScoredRun
from bench.score.leaderboard import score
from bench.score.metrics import Key, keys, values
from bench.score.reference_rows import references
from tests.score import numpy_kernels

CLASSES = ("bkl", "mel", "nv", "vasc")


def make_run(
    images: int = 240,
    groups: int = 90,
    classes: int = 4,
    folds: int = 3,
    seed: int = 0,
    decimals: int | None = None,
    skill: float = 1.5,
) -> ScoredRun:
    """A run whose labels belong to groups; `decimals` rounds probabilities, which makes ties."""
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, images - groups)])
    truth = rng.integers(0, classes, groups)[group]
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), truth] += skill
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if decimals is not None:
        probs = np.round(probs, decimals)
        probs[:, -1] = np.clip(1 - probs[:, :-1].sum(axis=1), 0, 1)
        probs = probs / probs.sum(axis=1, keepdims=True)
    thresholds = rng.uniform(0.2, 0.5, (folds, classes))
    return ScoredRun(
        truth, probs, group % folds, group, thresholds, groups, place=np.arange(images)
    )


def run_of(truth: Sequence[int], probs: np.ndarray, **rest: np.ndarray) -> ScoredRun:
    """A run of one fold in which, unless said otherwise, each image is a group of its own."""
    count = len(truth)
    group = rest.get("group", np.arange(count))
    fold = rest.get("fold", np.zeros(count, dtype=np.int64))
    thresholds = rest.get("thresholds", np.full((fold.max() + 1, probs.shape[1]), np.nan))
    return ScoredRun(np.asarray(truth), probs, fold, group, thresholds, int(group.max()) + 1)


def use_numpy_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score with the kernels by NumPy."""
    from bench.score import kernels

    for name in numpy_kernels.KERNELS:
        monkeypatch.setattr(kernels, name, getattr(numpy_kernels, name))


def weighted(run: ScoredRun, weights: np.ndarray) -> dict[Key, float]:
    """Every metric of a run whose groups count `weights` (G,) times."""
    table = np.zeros((run.groups, 64), dtype=np.uint8)
    table[:] = weights[:, None]
    (sums,) = weighted_sums([sort_scores(run)], [table], 64)
    found = values(sums)[:, 5]
    return dict(zip(keys(run.classes), found, strict=True))


def drawn_weights(groups: int, resamples: int, seed: int) -> np.ndarray:
    """The plan's weights (G, R) as one table."""
    plan = Plan(groups, resamples, seed)
    batches = [batch.copy() for batch in plan.batches(0, resamples)]
    return np.concatenate(batches, axis=1)[:, :resamples]


def make_dataset(lesions: int = 120, views: int = 2) -> Dataset:
    """Lesions with several views each, classes in turn, so that every fold has all of them."""
    records = [
        Record(
            f"IMG_{lesion:04d}_{view}", CLASSES[lesion % len(CLASSES)], lesion_id=f"L{lesion:04d}"
        )
        for lesion in range(lesions)
        for view in range(views)
    ]
    return Dataset.from_records("drawn", CLASSES, records, title="Drawn")


def make_protocol(
    folds: int = 3,
    repeats: int = 1,
    seeds: Sequence[int] = (0,),
    resamples: int = 200,
    primary: str = "macro_f1",
    *,
    control: bool = False,
) -> Protocol:
    return Protocol(
        name="drawn3",
        title="Drawn",
        split=Split(
            kind="groupkfold", folds=folds, repeats=repeats, seed=11, val=0.1, control=control
        ),
        run=Run(seeds=list(seeds)),
        metrics=Metrics(primary=primary),
        interval=Interval(resamples=resamples),
    )


def make_roles(dataset: Dataset, protocol: Protocol) -> Roles:
    """Lesions dealt to folds in blocks of one of each class, in another order each repeat."""
    names, lesion = np.unique(dataset.native_groups, return_inverse=True)
    columns = []
    for repeat in range(protocol.split.repeats):
        order = np.random.default_rng(repeat).permutation(len(names) // len(CLASSES))
        block = order[lesion // len(CLASSES)]
        for fold in range(protocol.folds):
            part = np.full(len(lesion), PARTS.index("train"))
            part[block % protocol.folds == fold] = PARTS.index("test")
            part[(block % protocol.folds == (fold + 1) % protocol.folds) & (block % 2 == 0)] = 2
            columns.append(part)
    parts = np.stack(columns, axis=1).astype(np.uint8)
    return Roles(dataset.roster_sha256, dataset.image_ids, dataset.native_groups, parts)


def make_row(
    name: str,
    protocol: Protocol,
    dataset: Dataset,
    roles: Roles,
    skill: float = 1.5,
    seeds: Sequence[int] = (0,),
    kind: str = "trained",
    *,
    val: bool = True,
) -> RowPredictions:
    """A row that knows each label with some skill; its images stand in shuffled order."""
    tests, vals = {}, {}
    for seed in seeds:
        for column in range(protocol.folds * protocol.split.repeats):
            training = TrainingKey(seed, column // protocol.folds, column % protocol.folds)
            for part, into in (("test", tests), ("val", vals)):
                rng = np.random.default_rng([len(name), *name.encode(), seed, column, len(part)])
                rows = rng.permutation(roles.rows(column, part))
                logits = rng.normal(size=(len(rows), len(CLASSES)))
                logits[np.arange(len(rows)), dataset.labels[rows]] += skill
                probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
                into[training] = Predictions(roles.image_ids[rows], probs, CLASSES)
    return RowPredictions(name, name, kind, tests, vals if val else {})


class World:
    """A protocol, its data and a way to make rows of it."""

    def __init__(self, lesions=120, **settings):
        self.protocol = make_protocol(**settings)
        self.dataset = make_dataset(lesions)
        self.roles = make_roles(self.dataset, self.protocol)

    def row(self, name, skill=1.5, **rest):
        return make_row(name, self.protocol, self.dataset, self.roles, skill, **rest)

    def references(self, seeds=(0,)):
        return references(self.protocol, self.dataset, self.roles, seeds)

    def score(self, *rows, **facts):
        return score(self.protocol, self.dataset, self.roles, rows, facts)
