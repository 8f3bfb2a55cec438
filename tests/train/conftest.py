"""Fixtures of training tests: tasks on the small dataset, a journal, an interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data.cache import build_cache
from bench.data.fold_task import fold_table, read_fold, write_fold_table
from bench.data.preprocess import preprocessing
from bench.method import FoldTask, Recipe
from bench.protocol import PARTS, Roles
from bench.train.loop import Training
from tests.conftest import CLASSES


class RecordingJournal:
    """A journal that keeps everything."""

    def __init__(self):
        self.rows, self.facts, self.notes, self.val = [], {}, [], None

    def epoch(self, row):
        self.rows.append(dict(row))

    def fact(self, name, value):
        self.facts[name] = value

    def note(self, sentence):
        self.notes.append(sentence)

    def val_predictions(self, predictions):
        self.val = predictions


def small_roles(manifest):
    """Whole lesions in turn: 3 of 5 in train, one in val, one in test."""
    lesion = manifest.table["lesion_id"].str[1:].astype(int).to_numpy()
    parts = np.array(["train", "val", "test", "train", "train"])[lesion // 3 % 5]
    codes = np.array([PARTS.index(part) for part in parts], dtype=np.uint8)
    return Roles(manifest.roster_sha256, manifest.image_ids, manifest.native_groups, codes[:, None])


@pytest.fixture
def make_task(small_source, tmp_path):
    manifest = small_source.manifest

    def make(recipe: Recipe, folder: str = "job", weights: Path | None = None) -> FoldTask:
        store = build_cache(small_source, preprocessing(recipe))
        table = write_fold_table(fold_table(manifest, small_roles(manifest), 0))
        train, val, test = read_fold(table, store)
        return FoldTask(
            CLASSES, train, val, test, recipe, 0, 0, "cpu", 1, weights, tmp_path / folder,
            RecordingJournal(), chain=tuple(store.index.chain),
        )  # fmt: skip

    return make


class Killed(BaseException):
    """A kill, as the process sees it."""


def interrupt_after(monkeypatch, epochs: int) -> None:
    """End the next training after it has stored the state of this many epochs."""
    keep = Training._state

    def state(self):
        if len(self.progress.history) > epochs:
            raise Killed
        return keep(self)

    monkeypatch.setattr(Training, "_state", state)
