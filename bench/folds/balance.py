"""How evenly the folds hold classes, sexes, ages, body sites and sources."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.folds.assign import KEYS, strata
from bench.protocol import PARTS, Roles

WIDEST = 10  # fold columns that a Markdown table shows one by one


def balance_table(roles: Roles, manifest: Dataset, part: str = "test") -> pd.DataFrame:
    """Images of one part by attribute and fold, a row for each value of each attribute.

    Columns: attribute, value; images and groups (in the whole dataset); images0.. and groups0..
    (in that part of each fold column); deviation, the largest relative deviation over the folds of
    the value's images from an equal share; one_group, how much of that share the value's smallest
    group is: no split can promise less.
    """
    codes = roles.parts == PARTS.index(part)
    rows = []
    for key in KEYS:
        values = strata(manifest, key)
        names = manifest.classes if key == "label" else sorted(set(values.tolist()))
        for name in names:
            mask = values == name
            if mask.any():
                attribute = "class" if key == "label" else key
                rows.append({"attribute": attribute, "value": name} | _row(mask, codes, roles))
    return pd.DataFrame(rows)


def _row(mask: np.ndarray, codes: np.ndarray, roles: Roles) -> dict[str, float]:
    images = (codes & mask[:, None]).sum(axis=0)
    groups = [len(set(roles.group_ids[mask & column].tolist())) for column in codes.T]
    even = images.mean()
    sizes = np.unique(roles.group_ids[mask].astype(str), return_counts=True)[1]
    row: dict[str, float] = {"images": int(mask.sum()), "groups": len(sizes)}
    row |= {f"images{fold}": int(count) for fold, count in enumerate(images)}
    row |= {f"groups{fold}": count for fold, count in enumerate(groups)}
    row["deviation"] = float(np.abs(images / even - 1).max()) if even else float("nan")
    row["one_group"] = float(sizes.min() / even) if even else float("nan")
    return row


def balance_markdown(table: pd.DataFrame) -> str:
    """The table as Markdown: in each fold `images (groups)`, and the largest deviation from equal.

    With more than ten fold columns the smallest and the largest count stand for all.
    """
    folds = sum(1 for column in table.columns if str(column).startswith("images")) - 1
    narrow = folds <= WIDEST
    heads = [f"fold {fold}" for fold in range(folds)] if narrow else ["fewest", "most"]
    lines = [
        "| " + " | ".join(["attribute", "value", "all", *heads, "off by"]) + " |",
        "| --- | --- |" + " ---: |" * (len(heads) + 2),
    ]
    for row in table.to_dict("records"):
        cells = [f"{row[f'images{fold}']} ({row[f'groups{fold}']})" for fold in range(folds)]
        if not narrow:
            counts = [row[f"images{fold}"] for fold in range(folds)]
            cells = [str(min(counts)), str(max(counts))]
        whole = f"{row['images']} ({row['groups']})"
        off = "n/a" if np.isnan(row["deviation"]) else f"{100 * row['deviation']:.1f}%"
        lines.append(
            "| " + " | ".join([str(row["attribute"]), str(row["value"]), whole, *cells, off]) + " |"
        )
    return "\n".join(lines) + "\n"
