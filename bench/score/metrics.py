"""Names and definitions of the metrics, from sums over images to values.

Every metric is a function of `Sums`: sums over images, or over ranked images, in which an image
counts as often as its group is drawn. The last axis of the arrays is the resamples, so one call
computes many; the estimate is the resample in which every group counts once.

Undefined is NaN. Sources: `f1`, `mcc` (Gorodkin 2004), `kappa` (Cohen 1960), AUC and AP as in
scikit-learn, `ece` over fifteen bins (lower, upper] of the top label (Guo et al. 2017), `log_loss`
clipped at 2.2e-16 as scikit-learn does for float64, `brier` summed over classes (0 to 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.errors import ProtocolError, listing

IMAGE_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "kappa",
    "macro_auc",
    "macro_ap",
    "log_loss",
    "brier",
    "ece",
    "macro_auc_pooled",
    "macro_ap_pooled",
)
"""One value a row, in the order of every table."""

RESAMPLED_CLASS_METRICS = (
    "recall",
    "specificity",
    "precision",
    "npv",
    "f1",
    "auc",
    "ap",
    "sens_at_spec_90",
    "auc_pooled",
    "ap_pooled",
)
CLASS_METRICS = (*RESAMPLED_CLASS_METRICS, "support", "groups")
"""One value a class; `support` counts images, `groups` the groups they belong to."""

CALIBRATION_ERRORS = frozenset({"ece", "ece_equal_mass", "classwise_ece", "brier_reliability"})
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "cost", "cost_aware"}) | CALIBRATION_ERRORS
BIASED = CALIBRATION_ERRORS | {"brier_resolution"}
"""Metrics that resampling biases: marked, with percentile intervals (ECE: bias-corrected)."""

FOLD_MEANS = {"auc": "auc", "ap": "ap", "macro_auc": "auc", "macro_ap": "ap"}
"""Metrics that are means over folds, and the class metric they are made of."""

MACROS = {
    "balanced_accuracy": "recall",
    "macro_f1": "f1",
    "macro_auc": "auc",
    "macro_ap": "ap",
    "macro_auc_pooled": "auc_pooled",
    "macro_ap_pooled": "ap_pooled",
}
"""Means over classes, and the metric by class; undefined if one class is undefined."""

PROPORTIONS = frozenset(
    {
        "accuracy",
        "top2_accuracy",
        "recall",
        "sensitivity",
        "specificity",
        "precision",
        "npv",
        "sens_at_spec_90",
    }
)
"""Proportions of images: if all resamples agree, the interval is Clopper-Pearson."""

ECE_BINS = 15
LOG_FLOOR = float(np.finfo(np.float64).eps)
SPECIFICITY = 90  # per cent, of the threshold behind `sens_at_spec_90`

Key = tuple[str, int | None]


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is the better one."""
    return metric not in LOWER_IS_BETTER


def keys(classes: int) -> tuple[Key, ...]:
    """(metric, class index or None) of every row of `values`."""
    by_class = ((name, code) for name in RESAMPLED_CLASS_METRICS for code in range(classes))
    return (*((name, None) for name in IMAGE_METRICS), *by_class)


def refuse_unknown(metrics: tuple[str, ...], where: str = "[metrics]") -> None:
    """Raise ProtocolError naming `where` unless every name is an image-level metric."""
    unknown = [name for name in metrics if name not in IMAGE_METRICS]
    if unknown:
        raise ProtocolError(
            f"unknown metrics in {where}: {listing(unknown)}; known are {listing(IMAGE_METRICS)}"
        )


@dataclass(frozen=True)
class Sums:
    """Sums from which every metric follows; B resamples, C classes, F folds.

    confusion (C, C, B)  images by true and predicted class, truth first
    detected (C, B)      images of a class with a score above the threshold of their fold; NaN
                         without a threshold
    gaps (15, B)         sum of confidence minus correctness in each bin of the top label
    log_loss, brier (B,) sums over images
    fold_auc, fold_ap (C, F, B)  by fold, NaN where undefined
    auc, ap (C, B)       all folds pooled in one ranking
    """

    confusion: np.ndarray
    detected: np.ndarray
    gaps: np.ndarray
    log_loss: np.ndarray
    brier: np.ndarray
    fold_auc: np.ndarray
    fold_ap: np.ndarray
    auc: np.ndarray
    ap: np.ndarray


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """`top / bottom`, NaN where bottom is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.asarray(np.divide(top, bottom, dtype=np.result_type(top, bottom, np.float64)))
    np.copyto(out, np.nan, where=np.equal(bottom, 0))
    return out


def mean_over_defined(values: np.ndarray) -> np.ndarray:
    """Mean over axis 1 of what is not NaN; NaN where nothing is defined."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))


def values(sums: Sums) -> np.ndarray:
    """Every metric of every resample, (M, B) in the order of `keys`.

    Also accepts complex sums; `bootstrap.influences` differentiates it with a complex step.
    """
    matrix = sums.confusion
    hit = np.einsum("iib->ib", matrix)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    images = support.sum(axis=0)
    rest = images - support - predicted + hit
    recall = ratio(hit, support)
    f1 = np.where(support == 0, np.nan, ratio(2 * hit, support + predicted))
    right = hit.sum(axis=0)
    chance = (support * predicted).sum(axis=0)
    square = images * images
    spread = (square - (predicted * predicted).sum(axis=0)) * (
        square - (support * support).sum(axis=0)
    )
    auc, ap = mean_over_defined(sums.fold_auc), mean_over_defined(sums.fold_ap)
    whole = (
        ratio(right, images),
        recall.mean(axis=0),
        f1.mean(axis=0),
        ratio(np.where(support == 0, 0, support * f1).sum(axis=0), images),
        ratio(right * images - chance, np.sqrt(spread)),
        ratio(right * images - chance, square - chance),
        auc.mean(axis=0),
        ap.mean(axis=0),
        ratio(sums.log_loss, images),
        ratio(sums.brier, images),
        ratio(np.abs(sums.gaps).sum(axis=0), images),
        sums.auc.mean(axis=0),
        sums.ap.mean(axis=0),
    )
    by_class = (
        recall,
        ratio(rest, images - support),
        ratio(hit, predicted),
        ratio(rest, images - predicted),
        f1,
        auc,
        ap,
        ratio(sums.detected, support),
        sums.auc,
        sums.ap,
    )
    return np.concatenate([np.stack(whole), *by_class])


def log_losses(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """-ln of the true class's probability of every image (N,), clipped at `LOG_FLOOR`."""
    own = probs[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.clip(own, LOG_FLOOR, 1 - LOG_FLOOR)))


def brier_scores(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Squared distance between probabilities and truth, summed over classes (N,), 0 to 2."""
    own = probs[np.arange(len(truth)), truth]
    return np.asarray((probs * probs).sum(axis=1) - own * own + (1 - own) * (1 - own))


def confidence_bins(top: np.ndarray) -> np.ndarray:
    """Bin 0 to 14 of every top probability (N,); bin k is (k/15, (k+1)/15]."""
    edges = np.linspace(0, 1, ECE_BINS + 1)
    return np.clip(np.searchsorted(edges, top, side="left") - 1, 0, ECE_BINS - 1)


def thresholds_from_val(
    truth: np.ndarray, probs: np.ndarray, percent: int = SPECIFICITY
) -> np.ndarray:
    """Smallest threshold of each class with a specificity of `percent` or more, (C,).

    An image is predicted positive if its score is *above* the threshold. NaN for a class without
    negatives.
    """
    thresholds = np.full(probs.shape[1], np.nan)
    for code in range(probs.shape[1]):
        negatives = np.sort(probs[truth != code, code])
        if len(negatives):
            thresholds[code] = negatives[(percent * len(negatives) + 99) // 100 - 1]
    return thresholds


def sensitive_thresholds(truth: np.ndarray, probs: np.ndarray, percent: int) -> np.ndarray:
    """Largest threshold of each class with a sensitivity of `percent` or more, (C,).

    An image is predicted positive if its score is *above* the threshold. NaN for a class without
    positives.
    """
    thresholds = np.full(probs.shape[1], np.nan)
    for code in range(probs.shape[1]):
        positives = np.sort(probs[truth == code, code])[::-1]
        if len(positives):
            last = positives[(percent * len(positives) + 99) // 100 - 1]
            thresholds[code] = np.nextafter(last, -np.inf)
    return thresholds
