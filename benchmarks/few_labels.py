"""Half of HAM10000's groups without their labels: what pseudo-labels bring, on real images.

    python -m benchmarks.few_labels --data DIR --to FOLDER

writes FOLDER/labelled (a `manifest.csv` and links to half of the images) and FOLDER/unlabelled
(links to the others), and prints the commands that train without and with the second. Groups are
those of the frozen roles, so known duplicates stay on one side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bench.data.images import find_images
from bench.data.open import DatasetSpec
from bench.workflows.open import open_bench

SEED = 20181106
COLUMNS = {
    "image_id": "image", "label": "label", "group_id": "group", "age": "age", "sex": "sex",
    "localization": "site", "source": "source",
}  # fmt: skip
COMMANDS = """mkdir -p {to}/protocols && cp protocols/holdout.toml {to}/protocols
export BENCH_PROTOCOLS={to}/protocols BENCH_DATA={to}/labelled
python bench.py protocol freeze holdout --dataset-name half
run="python bench.py run --protocol holdout --dataset-name half --method {method}"
$run --results {to}/results {budget}
$run --results {to}/results {budget} --unlabelled {to}/unlabelled
# and of the two rows that the last one names:
python bench.py compare ROW ROW --protocol holdout --dataset-name half --results {to}/results"""


def halved(groups: np.ndarray) -> np.ndarray:
    """Which images keep their label (N,) bool: those of a random half of the groups."""
    names = np.unique(groups.astype(str))
    kept = np.random.default_rng(SEED).permutation(names)[: len(names) // 2]
    return np.isin(groups.astype(str), kept)


def write_halves(data: Path, to: Path) -> tuple[int, int]:
    """Write both folders; how many images each has."""
    bench = open_bench("holdout", DatasetSpec(data), images=True)
    table, files = bench.dataset.table, find_images(bench.source)
    groups = dict(zip(bench.roles.image_ids, bench.roles.group_ids, strict=True))
    table = table.assign(group_id=table["image_id"].map(groups)).rename(columns=COLUMNS)
    labelled = halved(table["group"].to_numpy())
    for side, there in (("labelled", labelled), ("unlabelled", ~labelled)):
        (to / side).mkdir(parents=True)
        for file in map(files.__getitem__, table["image"][there]):
            (to / side / file.name).symlink_to(file.resolve())
    table[labelled][list(COLUMNS.values())].to_csv(to / "labelled" / "manifest.csv", index=False)
    return int(labelled.sum()), int((~labelled).sum())


def main() -> None:
    """Write the halves, and say what to do with them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--method", default="custom_cnn")
    parser.add_argument("--budget", default="--image-size 32 --set epochs=8")
    asked = parser.parse_args()
    known, unknown = write_halves(asked.data, asked.to)
    print(f"# {known:,} images with labels, {unknown:,} without")
    print(COMMANDS.format(to=asked.to, method=asked.method, budget=asked.budget))


if __name__ == "__main__":
    main()
