"""Balance of the folds in class, sex, age, body site and source."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.folds.assign import KEYS, stratify_by
from bench.protocol import PARTS, Roles

MOST_COLUMNS = 10  # with more folds, the Markdown table shows the smallest and largest count


def balance_table(roles: Roles, dataset: Dataset, part: str = "test") -> pd.DataFrame:
    """Images and groups of one part by attribute value (row) and fold (columns).

    Columns: attribute, value; images and groups (whole dataset); images0.. and groups0.. (in the
    part of each fold column); deviation: largest relative deviation over the folds from an equal
    share; one_group: size of the value's smallest group relative to that share, a lower limit for
    the deviation that a split can guarantee.
    """
    codes = roles.parts == PARTS.index(part)
    rows = []
    for key in KEYS:
        values = stratify_by(dataset, key)
        names = dataset.classes if key == "label" else sorted(set(values.tolist()))
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
    """The table as Markdown: `images (groups)` per fold, and the largest relative deviation.

    With more than ten fold columns: the smallest and the largest count instead.
    """
    folds = sum(1 for column in table.columns if str(column).startswith("images")) - 1
    narrow = folds <= MOST_COLUMNS
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
