"""Intraclass correlation of a protocol and its smallest detectable difference (power analysis).

The calculation needs no training. It depends on assumptions, which are printed with the result:

- Two methods predict the same test images. Their difference in recall of a class (in accuracy, for
  all classes) is tested by a paired interval that resamples groups.
- On an image the difference d is 1, 0 or -1. The methods differ on a share `disagreement` of the
  images, so the variance of d is disagreement - delta^2 for a true difference delta.
- The d of two images of one group have the correlation `correlation`. So n images in groups of m_g
  are equivalent to n / deff images, deff = 1 + (sum m_g^2 / n - 1) x correlation (Kish 1965,
  section 5.4).
- The mean of d is normal. So delta is detected at this power if delta = (z_{1-alpha/2} + z_power) x
  sqrt((disagreement - delta^2) deff / n). If this delta exceeds `disagreement`, all differences
  have one sign, and disagreement = delta (McNemar's test in clusters: Miettinen 1968).

The defaults are close to the committed rows of HAM10000 by class (resnet18 against custom_cnn and
efficientnet_phase4): disagreement 0.09 to 0.30, correlation 0.07 to 0.58. Methods that are more
similar disagree less; smaller differences are then detectable. The interval is conditional on the
trained models: variation between samples of patients or between trainings is not included.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import pandas as pd
from scipy.special import ndtri

from bench.dataset import Dataset
from bench.intraclass import design_effect, intra_class_correlation
from bench.protocol import Protocol, Roles

FEW_GROUPS = 50


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Assumptions about two methods, and power and level of the interval."""

    disagreement: float = 0.2
    correlation: float = 0.3
    power: float = 0.8
    level: float = 0.95


def detectable(sizes: np.ndarray, assumed: Assumptions) -> float:
    """The smallest true difference detected at the assumed power; groups of `sizes` (G,) images.

    NaN without images.
    """
    if not len(sizes):
        return nan
    quantiles = float(ndtri((1 + assumed.level) / 2) + ndtri(assumed.power))
    effective = sizes.sum() / design_effect(sizes, assumed.correlation)
    ratio = quantiles**2 / effective
    one_way = ratio / (1 + ratio)
    return one_way if one_way > assumed.disagreement else sqrt(one_way * assumed.disagreement)


def detectable_table(
    roles: Roles, dataset: Dataset, protocol: Protocol, assumed: Assumptions
) -> pd.DataFrame:
    """The smallest detectable difference by class, and for all classes.

    Columns: class; images and groups tested (counted once over repeats); per_group: mean group
    size; icc: intraclass correlation of the class; design_effect: by the assumed correlation;
    detectable: in recall (in accuracy for all). Uses the first arm if there are arms.
    """
    tested = np.unique(
        np.concatenate([roles.rows(column, "test") for column in range(protocol.split.folds)])
    )
    groups, labels = roles.group_ids[tested], dataset.labels[tested]
    rows = []
    for code, name in [*enumerate(dataset.classes), (None, "all")]:
        mask = np.ones(len(tested), dtype=bool) if code is None else labels == code
        if not mask.any():
            continue
        sizes = np.unique(groups[mask].astype(str), return_counts=True)[1]
        of_class = (labels == code).astype(np.float64)
        rows.append(
            {
                "class": name,
                "images": int(mask.sum()),
                "groups": len(sizes),
                "per_group": float(sizes.mean()),
                "icc": nan if code is None else intra_class_correlation(of_class, groups),
                "design_effect": design_effect(sizes, assumed.correlation),
                "detectable": detectable(sizes, assumed),
            }
        )
    return pd.DataFrame(rows)


def detectable_markdown(table: pd.DataFrame, assumed: Assumptions) -> str:
    """The table as Markdown, with its assumptions below it."""
    lines = [
        "| class | images | groups | images a group | ICC | design effect | detectable |",
        "| --- |" + " ---: |" * 6,
    ]
    for row in table.to_dict("records"):
        icc = "n/a" if np.isnan(row["icc"]) else f"{row['icc']:.2f}"
        few = " (few groups)" if row["groups"] < FEW_GROUPS else ""
        cells = (
            str(row["class"]),
            str(row["images"]),
            f"{row['groups']}{few}",
            f"{row['per_group']:.2f}",
            icc,
            f"{row['design_effect']:.2f}",
            f"{row['detectable']:.3f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    notes = (
        "ICC: how often images of one group have the same class. Detectable: smallest difference\n"
        "in recall (all: in accuracy) between two methods on the same images that the paired\n"
        f"interval at {assumed.level:g} detects with power {assumed.power:g}, if they differ on a "
        f"share of {assumed.disagreement:g}\nof the images and the correlation of their "
        f"differences is {assumed.correlation:g} within a group.\n"
        "Normal approximation; conditional on the trained models."
    )
    lines += ["", notes]
    return "\n".join(lines) + "\n"
