"""A training in stages: what is heard of an earlier one; the history is the last one's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.method import Journal
from bench.predictions import Predictions

KEPT = ("val_score", "temperature")


class StageJournal:
    """Passes on what must be known of a stage, under its name."""

    def __init__(self, journal: Journal, stage: str) -> None:
        self.journal, self.stage = journal, stage

    def epoch(self, row: Mapping[str, float]) -> None:
        """Keep nothing: the history is the last stage's."""

    def fact(self, name: str, value: Any) -> None:
        """Keep how good it is on val, and its temperature."""
        if name in KEPT:
            self.journal.fact(f"{self.stage}_{name}", value)

    def note(self, sentence: str) -> None:
        """Pass it on, as the stage's."""
        self.journal.note(f"{self.stage}: {sentence}")

    def val_predictions(self, predictions: Predictions) -> None:
        """Not wanted: the last stage's are."""
