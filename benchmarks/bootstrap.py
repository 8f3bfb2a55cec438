"""How long ten thousand resamples of every metric take, beside what people use.

    OMP_NUM_THREADS=1 python -m benchmarks.bootstrap --large > benchmarks/results/bootstrap.txt

Simulated data of HAM10000's shape: 10,015 images of 7,470 lesions, seven classes, five folds, three
methods. `bench.score` makes the whole leaderboard: every metric, by class, 10,000 resamples, BCa,
ranks and comparisons. The scikit-learn loop computes the same metrics on the same resampled
lesions, percentile intervals only. scipy.stats.bootstrap resamples lesions, too; torchmetrics'
BootStrapper and the package confidenceinterval know images only, and one metric at a time. All but
`bench.score` run `--loop` resamples and are scaled, which the table says. Times are of one process
on one core: wall clock, and processor time, which other work on the machine stretches less. Memory
is the most that the process held at any time, beyond what it held before.

confidenceinterval 1.0.5 asks for setuptools 68.2, which the bench's other packages do not go with;
it is left out unless it is installed in a separate folder:

    python -m pip install --no-deps --target DIR confidenceinterval==1.0.5
    PYTHONPATH=DIR OMP_NUM_THREADS=1 python -m benchmarks.bootstrap --large
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats
import sklearn.metrics as sk

from bench.dataset import Dataset, Record
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import Interval, Protocol, Roles, Split
from bench.score.bootstrap import Plan
from bench.score.join import Run, build_cohort, join
from bench.score.leaderboard import score
from benchmarks.machine import described, forget_peak, peak_mib

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
IMAGES = (327, 514, 1099, 115, 1113, 6705, 142)
LESIONS = (228, 327, 727, 73, 614, 5403, 98)
FOLDS = 5
RESAMPLES = 10_000


class Bench(NamedTuple):
    """A protocol with its data and rows."""

    protocol: Protocol
    dataset: Dataset
    roles: Roles
    rows: list[RowPredictions]


class Timed(NamedTuple):
    """Seconds by the wall clock and of the processor."""

    wall: float
    cpu: float


def simulated(methods: int, copies: int = 1, resamples: int = RESAMPLES) -> Bench:
    """Data of HAM10000's shape, `copies` times as large, and rows that know the labels somewhat."""
    rng = np.random.default_rng(0)
    records, lesion_of = [], []
    for name, images, lesions in zip(CLASSES, IMAGES, LESIONS, strict=True):
        extra = rng.integers(0, lesions * copies, (images - lesions) * copies)
        for lesion in np.concatenate([np.arange(lesions * copies), extra]):
            lesion_of.append(f"{name}{lesion:06d}")
            records.append(Record(f"I{len(records):07d}", name, lesion_id=lesion_of[-1]))
    dataset = Dataset.from_records("simulated", CLASSES, records)
    lesion = np.unique(dataset.native_groups, return_inverse=True)[1]
    place = rng.permutation(lesion.max() + 1)[lesion] % (2 * FOLDS)
    parts = np.ones((len(dataset), FOLDS), dtype=np.uint8)
    for fold in range(FOLDS):
        parts[place % FOLDS == fold, fold] = 3
        parts[place == (fold + 1) % FOLDS, fold] = 2
    roles = Roles(dataset.roster_sha256, dataset.image_ids, dataset.native_groups, parts)
    split = Split(kind="groupkfold", folds=FOLDS, seed=1, val=0.1)
    interval = Interval(resamples=resamples)
    protocol = Protocol(name="simulated", title="Simulated", split=split, interval=interval)
    rows = [_row(f"method{k}", dataset, roles, 2 + 0.1 * k, k) for k in range(methods)]
    return Bench(protocol, dataset, roles, rows)


def _row(name: str, dataset: Dataset, roles: Roles, skill: float, seed: int) -> RowPredictions:
    rng = np.random.default_rng([1, seed])
    lesion = np.unique(roles.group_ids, return_inverse=True)[1]
    shared = rng.normal(size=(lesion.max() + 1, len(CLASSES)))
    prior = np.log(np.bincount(dataset.labels) / len(dataset))
    parts: dict[str, dict[TrainingKey, Predictions]] = {"test": {}, "val": {}}
    for fold in range(FOLDS):
        for part, into in parts.items():
            rows = roles.rows(fold, part)
            logits = prior + shared[lesion[rows]] + 0.5 * rng.normal(size=(len(rows), len(CLASSES)))
            logits[np.arange(len(rows)), dataset.labels[rows]] += skill
            probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            into[TrainingKey(0, 0, fold)] = Predictions(roles.image_ids[rows], probs, CLASSES)
    return RowPredictions(name, name, "trained", parts["test"], parts["val"])


def timed(work: Callable[[], object], repeats: int = 1) -> Timed:
    """The fastest of some repeats."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append(Timed(time.perf_counter() - wall, time.process_time() - cpu))
    return min(found, key=lambda one: one.cpu)


def by_scikit_learn(run: Run, weight: np.ndarray) -> dict[str, float]:
    """Every metric of one resample, as one writes it with scikit-learn."""
    truth, predicted, probs = run.truth, run.predicted, run.probs
    labels = range(run.classes)
    given = {"sample_weight": weight, "labels": labels, "zero_division": np.nan}
    matrix = sk.confusion_matrix(truth, predicted, labels=labels, sample_weight=weight)
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, predicted, **given)
    hit, others = np.diag(matrix), matrix.sum() - matrix.sum(axis=1)
    rest = others - matrix.sum(axis=0) + hit
    top = probs.max(axis=1)
    bins = np.clip(np.ceil(top * 15) - 1, 0, 14).astype(int)
    gaps = np.bincount(bins, weight * (top - (predicted == truth)), 15)
    found = {
        "accuracy": sk.accuracy_score(truth, predicted, sample_weight=weight),
        "balanced_accuracy": recall.mean(),
        "macro_f1": f1.mean(),
        "weighted_f1": (f1 * support).sum() / support.sum(),
        "mcc": sk.matthews_corrcoef(truth, predicted, sample_weight=weight),
        "kappa": sk.cohen_kappa_score(truth, predicted, sample_weight=weight),
        "log_loss": sk.log_loss(truth, probs, sample_weight=weight, labels=labels),
        "brier": sk.brier_score_loss(
            truth, probs, sample_weight=weight, labels=labels, scale_by_half=False
        ),
        "ece": np.abs(gaps).sum() / weight.sum(),
    }
    for code in labels:
        own, scores = truth == code, probs[:, code]
        found |= {
            f"recall {code}": recall[code],
            f"precision {code}": precision[code],
            f"f1 {code}": f1[code],
            f"specificity {code}": rest[code] / others[code],
            f"npv {code}": rest[code] / (matrix.sum() - matrix.sum(axis=0)[code]),
            f"sens_at_spec_90 {code}": np.average(run.detected[own], weights=weight[own]),
        }
        for name, metric in (("auc", sk.roc_auc_score), ("ap", sk.average_precision_score)):
            found[f"{name}_pooled {code}"] = metric(own, scores, sample_weight=weight)
            folds = [run.fold == fold for fold in range(run.folds)]
            found[f"{name} {code}"] = float(
                np.mean([metric(own[f], scores[f], sample_weight=weight[f]) for f in folds])
            )
    return found


def scikit_learn_loop(runs: list[Run], resamples: int) -> np.ndarray:
    """Macro-F1 and pooled AUC of class 0 (methods, 2, resamples); all metrics are worked out."""
    plan = Plan(runs[0].groups, resamples, seed=1)
    weights = np.concatenate([b.copy() for b in plan.batches(0, resamples)], axis=1)
    out = np.empty((len(runs), 2, resamples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fold without a class in some resample
        for place, run in enumerate(runs):
            for resample in range(resamples):
                found = by_scikit_learn(run, weights[run.group, resample].astype(float))
                out[place, :, resample] = found["macro_f1"], found["auc_pooled 0"]
    return out


def scipy_macro_f1(run: Run, resamples: int) -> None:
    """scipy.stats.bootstrap over lesions: one metric, one method, percentile."""
    members = np.split(np.argsort(run.group, kind="stable"), np.cumsum(np.bincount(run.group))[:-1])

    def statistic(groups: np.ndarray) -> float:
        rows = np.concatenate([members[group] for group in groups.astype(int)])
        return float(sk.f1_score(run.truth[rows], run.predicted[rows], average="macro"))

    groups = (np.arange(run.groups),)
    scipy.stats.bootstrap(
        groups, statistic, n_resamples=resamples, vectorized=False, method="percentile"
    )


def torchmetrics_bootstrapper(run: Run, resamples: int, metric: str) -> None:
    """The BootStrapper of torchmetrics over images: one metric, one method, percentile."""
    import torch
    from torchmetrics import classification
    from torchmetrics.wrappers import BootStrapper

    torch.set_num_threads(1)
    base = getattr(classification, metric)(num_classes=run.classes, average="macro")
    level = torch.tensor([0.025, 0.975])
    wrapped = BootStrapper(base, resamples, quantile=level, sampling_strategy="multinomial")
    wrapped.update(torch.tensor(run.probs, dtype=torch.float32), torch.tensor(run.truth))
    wrapped.compute()


def confidenceinterval_macro_f1(run: Run, resamples: int) -> None:
    """The package confidenceinterval over images: one metric, one method, percentile."""
    from confidenceinterval import f1_score

    f1_score(
        list(run.truth),
        list(run.predicted),
        average="macro",
        method="bootstrap_percentile",
        n_resamples=resamples,
    )


COMPETITORS: dict[str, Callable[[Run, int], None]] = {
    "scipy.stats.bootstrap, 1 method, lesions, macro-F1": scipy_macro_f1,
    "torchmetrics, 1 method, images, macro-F1": functools.partial(
        torchmetrics_bootstrapper, metric="MulticlassF1Score"
    ),
    "torchmetrics, 1 method, images, macro AUC": functools.partial(
        torchmetrics_bootstrapper, metric="MulticlassAUROC"
    ),
    "confidenceinterval, 1 method, images, macro-F1": confidenceinterval_macro_f1,
}
"""One metric of one method each, percentile intervals."""


def line(what: str, time_of: Timed, note: str = "") -> None:
    print(f"{what:<58}{time_of.wall:>10.2f}{time_of.cpu:>10.2f}  {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", type=int, default=200, help="resamples of what is scaled")
    parser.add_argument("--large", action="store_true", help="20 methods and 400,600 images too")
    asked = parser.parse_args()
    print(
        __doc__.split("\n\n")[0],
        described("numpy", "numba", "scipy", "scikit-learn", "torchmetrics"),
        sep="\n\n",
    )
    bench = simulated(3)
    cohort = build_cohort(*bench[:3])
    runs = [join(row, list(row.test), cohort) for row in bench.rows]
    print(f"\n{len(bench.dataset):,} images, {cohort.groups:,} lesions, {RESAMPLES:,} resamples\n")
    print(f"{'seconds':<58}{'wall':>10}{'processor':>10}")
    line(
        "bench.score, first leaderboard, kernels compiled or cached",
        timed(lambda: score(*bench, {})),
    )
    forget_peak()
    before = peak_mib()
    ours = timed(lambda: score(*bench, {}), 7)
    line("bench.score, 3 methods, every metric, BCa, ranks, pairs", ours, "fastest of 7")
    grown = peak_mib() - before
    loop = scaled(lambda resamples: scikit_learn_loop(runs, resamples), asked.loop)
    note = f"scaled from {asked.loop} resamples"
    line("scikit-learn loop, 3 methods, every metric, percentile", loop, note)
    for what, work in COMPETITORS.items():
        try:
            line(what, scaled(functools.partial(work, runs[0]), asked.loop), note)
        except ModuleNotFoundError as missing:
            print(f"{what}: not timed, {missing.name} is not installed")
    print(f"\nscikit-learn loop / bench.score: {loop.cpu / ours.cpu:,.0f} times (processor time)")
    print(f"peak memory of bench.score beyond what was held before: {grown:.0f} MiB")
    if asked.large:
        large()


def scaled(work: Callable[[int], object], resamples: int) -> Timed:
    """What `RESAMPLES` would take, from fewer; whatever is imported on first use is not timed."""
    work(2)
    spent = timed(lambda: work(resamples))
    factor = RESAMPLES / resamples
    return Timed(spent.wall * factor, spent.cpu * factor)


def large() -> None:
    """More methods, more images; each size's memory beyond what its data and rows take."""
    many = simulated(20)
    line("\nbench.score, 20 methods", timed(lambda: score(*many, {}), 2))
    for copies in (10, 40):
        huge = simulated(1, copies)
        forget_peak()
        before = peak_mib()
        spent = timed(lambda one=huge: score(*one, {}))
        each = spent.cpu / len(huge.dataset) * 1e6
        what = f"bench.score, 1 method, {len(huge.dataset):,} images"
        note = f"{each:.0f} us an image, peak memory + {peak_mib() - before:.0f} MiB"
        line(what, spent, note)


if __name__ == "__main__":
    main()
