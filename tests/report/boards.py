"""Leaderboards for the tests of pages: drawn from a seed, shaped like the real thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.leaderboard import (
    NAN,
    Comparison,
    DatasetFacts,
    Estimate,
    IntervalFacts,
    Leaderboard,
    LeaderboardRow,
    MetricTable,
    Rank,
    RowFacts,
)

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
IMAGES = (327, 514, 1099, 115, 1113, 6705, 142)
GROUPS = (228, 327, 727, 73, 614, 5403, 98)
METRICS = (
    "macro_f1",
    "balanced_accuracy",
    "accuracy",
    "weighted_f1",
    "mcc",
    "kappa",
    "macro_auc",
    "macro_ap",
    "log_loss",
    "brier",
    "ece",
)
CLASS_METRICS = (
    "recall",
    "precision",
    "f1",
    "auc",
    "ap",
    "sens_at_spec_90",
    "support",
    "groups",
)
SKILL = {"efficientnet_phase4": 0.66, "resnet18": 0.62, "custom_cnn": 0.44}
REFERENCES = ("prior", "uniform", "majority")
PASSPORT = """\
ResNet18 (He et al. 2016) by timm, head first, then the whole network.

Source:   timm resnet18.a1_in1k, Apache-2.0
Command:  python bench.py run --protocol groupkfold5 --method resnet18
Measured: macro-F1 0.52 on one fold, 200x150 images, 8 epochs
Time:     5 x 4 min on 2 cores
"""


def estimate(value: float, n: int, groups: int, low: float = 0.0, high: float = 1.0) -> Estimate:
    """A value with an interval as wide as so many groups make it."""
    if n == 0 or np.isnan(value):
        return Estimate(NAN, n=n)
    spread = 1.96 * np.sqrt(max(abs(value * (1 - value)), 0.02) / groups)
    marks = ("few lesions",) if groups < 50 * 5 and groups < 100 else ()
    ends = np.clip((value - 1.07 * spread, value + 0.93 * spread), low, high)
    return Estimate(float(value), float(ends[0]), float(ends[1]), n, "bca", marks)


def confusion_of(name: str, rng: np.random.Generator) -> np.ndarray:
    """Counts (7, 7) of a method of that skill; references answer without looking."""
    counts = np.zeros((7, 7), dtype=np.int64)
    share = np.array(IMAGES) / sum(IMAGES)
    for truth, images in enumerate(IMAGES):
        if name in ("majority", "prior"):
            counts[truth, 5] = images
            continue
        skill = SKILL.get(name, 0.0) + (0.2 if truth == 5 else -0.05 * (truth == 3))
        rest = np.full(7, 1 / 7) if name == "uniform" else 0.3 * share + 0.1
        probs = (1 - skill) * rest / rest.sum() if name != "uniform" else rest
        probs[truth] += skill if name != "uniform" else 0
        counts[truth] = rng.multinomial(images, probs / probs.sum())
    return counts


def metric_table(name: str, counts: np.ndarray) -> MetricTable:
    """Metrics of a confusion; those that need scores follow the method's skill."""
    skill = SKILL.get(name, 0.0)
    hits, truth, called = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    recall = hits / truth
    with np.errstate(invalid="ignore"):
        precision = np.where(called > 0, hits / np.maximum(called, 1), np.nan)
    f1 = 2 * hits / (truth + called)
    accuracy = hits.sum() / truth.sum()
    n, groups = int(truth.sum()), sum(GROUPS)
    values = {
        "macro_f1": f1.mean(),
        "balanced_accuracy": recall.mean(),
        "accuracy": accuracy,
        "weighted_f1": (f1 * truth).sum() / truth.sum(),
        "mcc": 1.1 * skill - 0.05 * (skill > 0),
        "kappa": 1.1 * skill - 0.06 * (skill > 0),
        "macro_auc": 0.5 + 0.66 * skill,
        "macro_ap": 0.14 + 0.72 * skill,
        "log_loss": 1.9 - 2.0 * skill,
        "brier": 0.85 - 0.7 * skill,
        "ece": 0.19 - 0.2 * skill,
    }
    metrics = {
        key: estimate(value, n, 700 if "macro" in key or "bal" in key else groups, -1, 3)
        for key, value in values.items()
    }
    ece = metrics["ece"]
    metrics["ece"] = replace(ece, method="percentile", marks=("biased",))
    per_class = {}
    for index, label in enumerate(CLASSES):
        images, lesions = IMAGES[index], GROUPS[index]
        rates = {
            "recall": estimate(recall[index], images, lesions),
            "precision": estimate(precision[index], int(called[index]), lesions),
            "f1": estimate(f1[index], images + int(called[index]), lesions),
            "auc": estimate(0.5 + 0.6 * skill + 0.02 * (index % 3), n, lesions),
            "ap": estimate(0.1 + 0.7 * skill, images, lesions),
            "sens_at_spec_90": estimate(0.1 + skill if skill else NAN, images, lesions),
            "support": Estimate(images, n=images),
            "groups": Estimate(lesions, n=images),
        }
        if hits[index] == 0:
            rates["recall"] = Estimate(0.0, 0.0, 0.012, images, "clopper-pearson")
        per_class[label] = rates
    return MetricTable(metrics, per_class)


def row(name: str, kind: str = "trained", rank: Rank | None = None) -> LeaderboardRow:
    """One method's row, complete over five folds."""
    rng = np.random.default_rng(sum(map(ord, name)))
    counts = confusion_of(name, rng)
    table = metric_table(name, counts)
    by_fold = {
        key: tuple(float(v) for v in table.metrics[key].value + rng.normal(0, 0.02, 5))
        for key in ("macro_f1", "balanced_accuracy", "accuracy", "log_loss")
    }
    trained = kind == "trained"
    facts = RowFacts(
        badges=("from scratch", "committed") if trained else (),
        notes=("Weights could not be had; trained from scratch.",) if trained else (),
        cost={
            "train_seconds": 1234.0 * (1 + SKILL.get(name, 0)),
            "peak_memory_bytes": 1.9e9,
            "parameters": 11_180_103.0,
            "images_per_second": 412.0,
        }
        if trained
        else {},
        command=f"python bench.py run --protocol groupkfold5 --method {name}" if trained else "",
        passport=PASSPORT if trained else "Knows the training part's class shares only.",
        environment={"python": "3.11.9", "torch": "2.13.0", "device": "2-core CPU"},
        hashes={"row": "3f9ac0d1e2b4c6a8", "roles": "9b" * 32, "pixels": "0c" * 32},
        unranked="" if kind != "reference" else "reference rows are not ranked",
    )
    return LeaderboardRow(
        name=name,
        method=name,
        kind=kind,
        seeds=(0,),
        folds=(0, 1, 2, 3, 4),
        complete=True,
        rank=rank or Rank(),
        table=table,
        confusion=counts,
        by_fold=by_fold,
        seed_sd=dict.fromkeys(by_fold, NAN),
        clears_reference=trained,
        facts=facts,
        tested=(sum(IMAGES), sum(GROUPS)),
    )


def dataset(**changes: object) -> DatasetFacts:
    """HAM10000 as the bench describes it."""
    facts = DatasetFacts(
        name="ham10000",
        title="HAM10000",
        roster_sha256="5d" * 32,
        images=sum(IMAGES),
        groups=sum(GROUPS),
        synthetic=False,
        unit="lesion",
        ungrouped=0,
        licence="CC BY-NC 4.0",
        citation="Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset. Sci Data 5, 180161 "
        "(2018). https://doi.org/10.1038/sdata.2018.161",
        images_by_class=dict(zip(CLASSES, IMAGES, strict=True)),
        groups_by_class=dict(zip(CLASSES, GROUPS, strict=True)),
    )
    return replace(facts, **changes)


NONE, ONE_TRAINING = "no difference shown", "one training per fold"


def leaderboard(**changes: object) -> Leaderboard:
    """Three baselines and three references on HAM10000."""
    ranks = (
        Rank(1, 1, 2, 0.94, (0.94, 0.06, 0.0)),
        Rank(2, 1, 2, 0.06, (0.06, 0.94, 0.0)),
        Rank(3, 3, 3, 0.0, (0.0, 0.0, 1.0)),
    )
    rows = [row(name, rank=rank) for name, rank in zip(SKILL, ranks, strict=True)]
    rows += [row(name, "reference") for name in REFERENCES]
    comparisons = (
        ("resnet18", 0.012, -0.004, 0.027, NONE, NONE, 0.21, 0.21, 5, ONE_TRAINING),
        ("custom_cnn", 0.201, 0.18, 0.222, "better", "better", 4e-5, 8e-5, 5, ONE_TRAINING),
    )
    board = Leaderboard(
        protocol="groupkfold5",
        protocol_title="Five folds, no patient in two parts",
        primary="macro_f1",
        metrics=METRICS,
        class_metrics=CLASS_METRICS,
        classes=CLASSES,
        dataset=dataset(),
        interval=IntervalFacts(0.95, 10_000, "lesion", "bca"),
        folds=5,
        repeats=1,
        rows=tuple(rows),
        comparisons=tuple(
            Comparison("efficientnet_phase4", b, "macro_f1", *rest) for b, *rest in comparisons
        ),
        best_reference="prior",
        baseline="efficientnet_phase4",
        tie_groups=(("efficientnet_phase4", "resnet18"),),
        mean_ranks=dict(zip(SKILL, (1.4, 1.6, 3.0), strict=True)),
    )
    return replace(board, **changes)


def with_row(board: Leaderboard, index: int, **changes: object) -> Leaderboard:
    """The leaderboard with one row changed."""
    rows = list(board.rows)
    rows[index] = replace(rows[index], **changes)
    return replace(board, rows=tuple(rows))
