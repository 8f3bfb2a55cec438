"""Beside the predictions of jobs and rows: what is read by eye, or by a table's program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bench.cli.board import Bench
from bench.files import write_atomically
from bench.predictions import Predictions
from bench.run import results


def write_row_texts(bench: Bench, root: Path) -> None:
    """A classification report beside each job's predictions; that of all and a table a row.

    The tables hold no labels, since a method could read them.
    """
    manifest = bench.source.manifest
    labels = pd.Series(manifest.labels, index=manifest.image_ids)
    rows: dict[Path, list[tuple[str, Predictions]]] = {}
    for folder, record in results.whole_records(root, bench.protocol.name, manifest.name):
        job = record.job
        if (job.roster_sha256, job.roles_sha256) != (manifest.roster_sha256, bench.roles_sha256):
            continue
        predictions = results.read_predictions(folder / results.PREDICTIONS, job.classes)
        name = f"seed {job.seed}, fold {job.column}"
        _write_report(folder, f"{job.row}, {name}, {bench.protocol.name}", [predictions], labels)
        rows.setdefault(results.row_folder(root, job), []).append((name, predictions))
    for folder, jobs in rows.items():
        every = [predictions for _, predictions in jobs]
        title = f"{folder.name}, {len(jobs)} jobs pooled, {bench.protocol.name}"
        _write_report(folder, title, every, labels)
        tables = [results.predictions_table(each).assign(job=name) for name, each in jobs]
        results.write_table(folder / results.TABLE, pd.concat(tables))


def _write_report(
    folder: Path, title: str, parts: Sequence[Predictions], labels: pd.Series[int]
) -> None:
    from bench.score.classification import report_text

    truth = np.concatenate([labels[part.image_ids].to_numpy() for part in parts])
    probs = np.concatenate([part.probs for part in parts])
    path, text = (
        folder / results.REPORT,
        report_text(title, parts[0].classes, truth, probs).encode(),
    )
    if not path.is_file() or path.read_bytes() != text:  # thousands of writes to the disk spared
        write_atomically(path, text)
