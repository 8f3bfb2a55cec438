"""Title, direction and denominator of each metric."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as pages speak of it.

    lower  whether lower is better. counts: whether it is a number of things, not a rate
    bounds the values it can have at most; open ends are infinite
    none   what is missing where its denominator is empty ("0 positives")
    why    what else leaves it undefined
    given  whether the data alone settle it, whatever a method does
    """

    name: str
    label: str
    meaning: str = ""
    lower: bool = False
    counts: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)
    none: str = "0 images"
    why: str = ""
    given: bool = False

    @property
    def title(self) -> str:
        """Its label as a heading begins: `Macro-F1`."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def direction(self) -> str:
        """Which way is better, in words."""
        if self.counts or self.given:
            return "given by the data" if self.given else ""
        return "lower is better" if self.lower else "higher is better"


OPEN = (0.0, float("inf"))
_ALL = (
    Metric("accuracy", "accuracy", "share of images whose top class is right"),
    Metric("balanced_accuracy", "balanced accuracy", "mean recall of the classes"),
    Metric("macro_f1", "macro-F1", "mean F1 of the classes, each counting the same"),
    Metric("weighted_f1", "weighted F1", "mean F1 of the classes, weighted by their images"),
    Metric(
        "mcc",
        "MCC",
        "Matthews correlation of truth and top class",
        bounds=(-1.0, 1.0),
        why="one class only",
    ),
    Metric("kappa", "Cohen’s κ", "agreement with the truth beyond chance", bounds=(-1.0, 1.0)),
    Metric("macro_auc", "macro AUC", "mean over classes of the area under the ROC curve"),
    Metric("macro_ap", "macro AP", "mean over classes of average precision"),
    Metric("macro_auc_pooled", "macro AUC, pooled", "the same with the folds’ scores pooled"),
    Metric("macro_ap_pooled", "macro AP, pooled", "the same with the folds’ scores pooled"),
    Metric("log_loss", "log loss", "mean −ln p of the true class", lower=True, bounds=OPEN),
    Metric(
        "brier", "Brier score", "squared error summed over classes", lower=True, bounds=(0.0, 2.0)
    ),
    Metric("ece", "ECE", "expected calibration error, 15 bins of the top label", lower=True),
    Metric("recall", "recall", "share of the class that is found", none="0 positives"),
    Metric("specificity", "specificity", "share of the others let be", none="0 negatives"),
    Metric("precision", "precision", "share of its calls that are right", none="0 predicted"),
    Metric("npv", "NPV", "share of its non-calls that are right", none="0 predicted negative"),
    Metric("f1", "F1", "harmonic mean of recall and precision", none="0 positives, 0 predicted"),
    Metric("auc", "AUC", "area under the ROC curve, mean over folds", none="0 positives"),
    Metric("ap", "AP", "average precision, mean over folds", none="0 positives"),
    Metric("auc_pooled", "AUC, pooled", "the folds’ scores pooled", none="0 positives"),
    Metric("ap_pooled", "AP, pooled", "the folds’ scores pooled", none="0 positives"),
    Metric(
        "sens_at_spec_90",
        "sensitivity at 90% specificity",
        "the threshold is chosen on val",
        none="no threshold from val",
    ),
    Metric("top2_accuracy", "top-2 accuracy", "share of images with the right class among two"),
    Metric(
        "partial_auc",
        "partial AUC",
        "area under the ROC curve at specificities of 90% and more, 0.5 by chance, mean over folds",
        none="0 positives",
    ),
    Metric(
        "cost", "cost", "mean cost of the top class, by the matrix given", lower=True, bounds=OPEN
    ),
    Metric(
        "cost_aware",
        "cost, calling what costs least",
        "mean cost of the class with the least expected cost by the row’s own probabilities",
        lower=True,
        bounds=OPEN,
    ),
    Metric("sensitivity", "sensitivity", "share of the positives found", none="0 positives"),
    Metric(
        "ece_equal_mass",
        "ECE, equal mass",
        "the same with bins of equally many images",
        lower=True,
    ),
    Metric(
        "classwise_ece",
        "class-wise ECE",
        "calibration error of each class’s own probability, mean over classes",
        lower=True,
    ),
    Metric(
        "brier_reliability",
        "Brier: reliability",
        "the part of the Brier score that miscalibration makes",
        lower=True,
        bounds=(0.0, 2.0),
    ),
    Metric(
        "brier_resolution",
        "Brier: resolution",
        "the part that telling images apart takes off",
        bounds=(0.0, 2.0),
    ),
    Metric(
        "brier_uncertainty",
        "Brier: uncertainty",
        "what the classes’ shares alone would leave",
        lower=True,
        given=True,
        bounds=(0.0, 2.0),
    ),
    Metric(
        "malignant_auc",
        "malignancy: AUC",
        "malignant against benign, mean over folds",
        none="0 positives",
    ),
    Metric(
        "malignant_sensitivity",
        "malignancy: sensitivity at 90% specificity",
        "the threshold is chosen on val",
        none="no threshold from val",
    ),
    Metric("support", "images", "images of the class", counts=True, bounds=OPEN),
    Metric("groups", "groups", "groups that hold the class", counts=True, bounds=OPEN),
)
CATALOGUE = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """The metric of a name; one that is not in the catalogue is shown by its name."""
    unknown = Metric(name, name.replace("_", " "), bounds=(float("-inf"), float("inf")))
    return CATALOGUE.get(name, unknown)
