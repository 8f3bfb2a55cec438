"""How large the pages are, how long they take to make, and how long the largest takes to open.

    OMP_NUM_THREADS=1 python -m benchmarks.pages > benchmarks/results/pages.txt

Simulated data of HAM10000's shape (10,015 images of 7,470 lesions, seven classes, five folds) with
age, sex and body site drawn at random, and rows that know the labels somewhat; three references
beside them. Scored are the bench's own 13 metrics; the fifty methods get seven more under other
names, copies of known ones, so that the page has 20. Rendering is what `bench.report` does with
scores at hand; scoring and the closer look at every row are told apart from it. Opening is
Chromium's time from the request to the load event of the page as a file, the best of three.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.leaderboard import Leaderboard, LeaderboardRow, RowFacts, RowReport
from bench.report.render import render, write
from bench.score.leaderboard import score
from bench.score.reference_rows import references
from bench.score.row_report import row_reports
from benchmarks.bootstrap import Bench, simulated
from benchmarks.machine import described

FEW, MANY, METRICS = 6, 50, 20
SITES = ("back", "trunk", "lower extremity", "upper extremity", "face", "abdomen", "neck")
T = TypeVar("T")
COMMAND = "python bench.py run --protocol groupkfold5 --data DIR --method {}"


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What the work gives, seconds by the wall clock, seconds of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def dressed(bench: Bench) -> Bench:
    """The data with patients' attributes, so that there are subsets to show."""
    rng = np.random.default_rng(1)
    names = bench.dataset.table["lesion_id"].to_numpy()
    lesions, member = np.unique(names.astype(str), return_inverse=True)
    age, sex, site = (
        rng.choice(np.array(values, dtype=object), len(lesions))[member]
        for values in ((15.0, 30.0, 50.0, 70.0, 85.0), ("female", "male"), SITES)
    )
    table = bench.dataset.table.assign(age=age.astype(float), sex=sex, localization=site)
    manifest = replace(bench.dataset, table=table, malignant=("akiec", "bcc", "mel"))
    rows = [*bench.rows, *references(bench.protocol, manifest, bench.roles, (0,))]
    return bench._replace(manifest=manifest, rows=rows)


def facts(at: int) -> RowFacts:
    """What a trained row carries."""
    return RowFacts(
        badges=("from scratch", "committed"),
        cost={
            "train_seconds": 600.0 + 100 * at,
            "peak_memory_bytes": 1.9e9,
            "parameters": 1.1e7 + at,
            "images_per_second": 400.0,
        },
        command=COMMAND.format(f"method_{at}"),
        passport="source   this benchmark\nlicence  MIT\n" * 4,
        environment={f"package_{i}": f"{i}.{at}" for i in range(16)},
        hashes={f"seed0/fold{fold} predictions": f"{at:02x}" * 32 for fold in range(5)},
        recipe={f"switch_{i}": i for i in range(60)},
        history={
            f"seed 0 fold {fold}": {"epoch": tuple(range(1, 31)), "val_loss": (1.0,) * 30}
            for fold in range(5)
        },
    )


def with_more_metrics(board: Leaderboard) -> Leaderboard:
    """The leaderboard with copies of its metrics under other names, twenty in all."""
    more = {
        f"further_{i}": key for i, key in enumerate(board.metrics[: METRICS - len(board.metrics)])
    }

    def widened(row: LeaderboardRow) -> LeaderboardRow:
        known = row.table.metrics
        metrics = {**known, **{name: known[key] for name, key in more.items()}}
        by_fold = {**row.by_fold, **{name: row.by_fold[key] for name, key in more.items()}}
        return replace(row, table=replace(row.table, metrics=metrics), by_fold=by_fold)

    rows = tuple(map(widened, board.rows))
    return replace(board, rows=rows, metrics=(*board.metrics, *more))


def opened(page: Path) -> float | None:
    """Seconds until Chromium's load event, best of three; None where there is no Chromium."""
    program = shutil.which("chromium")
    if program is None:
        return None
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(3):
            tab = browser.new_page()
            tab.goto(page.as_uri(), wait_until="load")
            found.append(
                tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
            )
            tab.close()
        browser.close()
    return float(min(found))


def measure(methods: int, resamples: int) -> None:
    """Score, look closer, render and open a leaderboard of so many methods; print what it took."""
    bench = dressed(simulated(methods, resamples=resamples))
    known = {row.name: facts(at) for at, row in enumerate(bench.rows) if row.kind == "trained"}
    where = bench.protocol, bench.dataset, bench.roles, bench.rows
    board, *scoring = timed(lambda: score(*where, known))
    looks: dict[str, RowReport]
    looks, *looking = timed(lambda: row_reports(*where))
    shown = with_more_metrics(board) if methods >= MANY else board
    files, *rendering = timed(lambda: render(shown, closeups=looks))
    with tempfile.TemporaryDirectory() as folder:
        write(files, Path(folder))
        seconds = opened(Path(folder) / "index.html")
    sizes = {name: len(text.encode()) / 1e6 for name, text in files.items()}
    pages = [size for name, size in sizes.items() if name.startswith("methods/") and "html" in name]
    of = f"{len(shown.metrics)} metrics, {resamples:,} resamples"
    print(f"{methods} methods, 3 references, {of}")
    print(f"  leaderboard page   {sizes['index.html']:.2f} MB")
    print(
        f"  largest row's page {max(pages):.2f} MB, all {len(pages)} together {sum(pages):.1f} MB"
    )
    for what, (wall, cpu) in (
        ("scoring", scoring),
        ("closer look", looking),
        ("rendering", rendering),
    ):
        print(f"  {what:<18} {wall:.1f} s, {cpu:.1f} s of processor")
    print(f"  opening            {'no chromium' if seconds is None else f'{seconds:.2f} s'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--methods", type=int, nargs="*", default=[FEW, MANY])
    asked = parser.parse_args()
    print(described())
    for methods in asked.methods:
        print()
        measure(methods, asked.resamples)


if __name__ == "__main__":
    main()
