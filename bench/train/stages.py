"""A training in stages: what is heard of an earlier one; the history is the last one's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.method import Journal
from bench.predictions import Predictions

KEPT = ("val_score", "temperature")
GUARDS = "guards"


class StageJournal:
    """Passes on what must be known of a stage, under its name."""

    def __init__(self, journal: Journal, stage: str) -> None:
        self.journal, self.stage = journal, stage

    def epoch(self, row: Mapping[str, float]) -> None:
        """Keep nothing: the history is the last stage's."""

    def fact(self, name: str, value: Any) -> None:
        """Keep how good it is on val, its temperature, and what its guards said."""
        if name in KEPT:
            self.journal.fact(f"{self.stage}_{name}", value)
        if name == GUARDS and value:
            said = {f"{self.stage}: {guard}": self._told(text) for guard, text in value.items()}
            self.journal.fact(f"{self.stage}_{GUARDS}", said)

    def note(self, sentence: str) -> None:
        """Pass it on, as the stage's."""
        self.journal.note(self._told(sentence))

    def _told(self, sentence: str) -> str:
        return f"{self.stage}: {sentence}"

    def val_predictions(self, predictions: Predictions) -> None:
        """Not wanted: the last stage's are."""
