"""Numbers, names and metrics as text, for verdicts, pages and tables.

A number shows as many decimals as give its interval two significant digits of width. Without an
interval, the width that a proportion of n images would have replaces it.
"""

# ruff: noqa: RUF001 - these strings are shown to people: they use typographic signs

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
UNDEFINED = "n/a"
MOST_DECIMALS = 3
SHORT = 48
_DIRECTION = {
    "\u061c",
    "\u200e",
    "\u200f",
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
}
_RIGHT_TO_LEFT = {"R", "AL"}


def decimals(low: float, high: float, n: int = 0) -> int:
    """Decimals that an interval supports; without an interval, those that n images support."""
    width = high - low
    if not math.isfinite(width) or width <= 0:
        width = 2 / math.sqrt(n) if n > 0 else 0.05
    return min(MOST_DECIMALS, max(1, math.ceil(-math.log10(width)) + 1))


def fixed(value: float, places: int) -> str:
    """A number with this number of decimals, a typographic minus sign, and no negative zero."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:,.{places}f}"
    if text.startswith("-"):
        return text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]
    return text


def signed(value: float, places: int) -> str:
    """A difference: always with its sign, unless it rounds to zero."""
    text = fixed(value, places)
    return f"+{text}" if value > 0 and math.isfinite(value) and text.strip("0.") else text


def interval(low: float, high: float, places: int) -> str:
    """`[0.725, 0.754]`, or "" without an interval."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{fixed(low, places)}, {fixed(high, places)}]"


def count(value: float) -> str:
    """A whole number with thousands separators: `10,015`."""
    return UNDEFINED if math.isnan(value) else fixed(round(value), 0)


def counted(value: float, singular: str, plural: str = "") -> str:
    """`1 fold`, `10,015 images`."""
    return f"{count(value)} {singular if value == 1 else plural or singular + 's'}"


def p_value(p: float) -> str:
    """`p = 0.031`, `p < 0.001`, or "" without a test."""
    if math.isnan(p):
        return ""
    if p < 0.001:  # noqa: PLR2004 - smaller p values are not shown
        return "p < 0.001"
    if p > 0.99:  # noqa: PLR2004
        return "p > 0.99"
    return f"p = {p:#.2g}" if p < 0.1 else f"p = {p:.2f}"  # noqa: PLR2004


def plain(text: str, *, lines: bool = False) -> str:
    """The text with control and direction characters as their code; line ends stay if `lines`."""
    kept = {"\n", "\t"} if lines else set()
    return "".join(_visible(char) if char not in kept else char for char in text)


def _visible(char: str) -> str:
    hidden = char in _DIRECTION or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}
    return f"\\u{ord(char):04x}" if hidden else char


def isolated(text: str) -> str:
    """The text for use in a sentence; right-to-left letters cannot reorder the sentence."""
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
    return text


def shortened(text: str, limit: int = SHORT) -> str:
    """The text cut to `limit` characters, with an ellipsis if it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def said(text: str) -> str:
    """A name for use in a sentence."""
    return isolated(shortened(plain(text)))


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True, slots=True)
class Metric:
    """Name, meaning, direction and range of a metric.

    lower  whether lower is better. counts: whether it is a count, not a rate
    bounds smallest and largest possible value; open ends are infinite
    none   the reason if its denominator is empty ("0 positives")
    why    another reason for an undefined value
    given  whether it depends on the data alone, not on the method
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
        """Its label with a capital letter: `Macro-F1`."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def direction(self) -> str:
        """Which direction is better, in words."""
        if self.counts or self.given:
            return "given by the data" if self.given else ""
        return "lower is better" if self.lower else "higher is better"


OPEN = (0.0, float("inf"))
_ALL = (
    Metric("accuracy", "accuracy", "share of images whose top class is correct"),
    Metric("balanced_accuracy", "balanced accuracy", "mean recall of the classes"),
    Metric("macro_f1", "macro-F1", "mean F1 of the classes, equal weights"),
    Metric("weighted_f1", "weighted F1", "mean F1 of the classes, weighted by their images"),
    Metric(
        "mcc",
        "MCC",
        "Matthews correlation of truth and top class",
        bounds=(-1.0, 1.0),
        why="one class only",
    ),
    Metric("kappa", "Cohen’s κ", "agreement with the truth above chance", bounds=(-1.0, 1.0)),
    Metric("macro_auc", "macro AUC", "mean over classes of the area under the ROC curve"),
    Metric("macro_ap", "macro AP", "mean over classes of average precision"),
    Metric("macro_auc_pooled", "macro AUC, pooled", "the same with the folds’ scores pooled"),
    Metric("macro_ap_pooled", "macro AP, pooled", "the same with the folds’ scores pooled"),
    Metric("log_loss", "log loss", "mean −ln p of the true class", lower=True, bounds=OPEN),
    Metric(
        "brier", "Brier score", "squared error summed over classes", lower=True, bounds=(0.0, 2.0)
    ),
    Metric("ece", "ECE", "expected calibration error, 15 bins of the top label", lower=True),
    Metric("recall", "recall", "share of the class that is predicted as it", none="0 positives"),
    Metric(
        "specificity",
        "specificity",
        "share of the other images not predicted as the class",
        none="0 negatives",
    ),
    Metric(
        "precision", "precision", "share of its predictions that are correct", none="0 predicted"
    ),
    Metric(
        "npv",
        "NPV",
        "share of predictions of another class that are correct",
        none="0 predicted negative",
    ),
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
    Metric(
        "top2_accuracy", "top-2 accuracy", "share of images with the true class among the top two"
    ),
    Metric(
        "partial_auc",
        "partial AUC",
        "area under the ROC curve at specificities of 90% and more, 0.5 by chance, mean over folds",
        none="0 positives",
    ),
    Metric(
        "cost", "cost", "mean cost of the top class, by the cost matrix", lower=True, bounds=OPEN
    ),
    Metric(
        "cost_aware",
        "cost, predicting the cheapest class",
        "mean cost of the class with the lowest expected cost by the row’s probabilities",
        lower=True,
        bounds=OPEN,
    ),
    Metric(
        "sensitivity",
        "sensitivity",
        "share of the positives predicted as positive",
        none="0 positives",
    ),
    Metric(
        "ece_equal_mass",
        "ECE, equal mass",
        "the same with bins of equally many images",
        lower=True,
    ),
    Metric(
        "classwise_ece",
        "class-wise ECE",
        "calibration error of the probability of each class, mean over classes",
        lower=True,
    ),
    Metric(
        "brier_reliability",
        "Brier: reliability",
        "the part of the Brier score that comes from miscalibration",
        lower=True,
        bounds=(0.0, 2.0),
    ),
    Metric(
        "brier_resolution",
        "Brier: resolution",
        "the part that discrimination subtracts",
        bounds=(0.0, 2.0),
    ),
    Metric(
        "brier_uncertainty",
        "Brier: uncertainty",
        "the part that the class shares alone give",
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
METRICS = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """The metric of a name; an unknown metric is shown by its name."""
    unknown = Metric(name, name.replace("_", " "), bounds=(float("-inf"), float("inf")))
    return METRICS.get(name, unknown)
