"""Guards: what goes wrong in trainings without a word is said here, once each.

A guard speaks in the log and as a note of the record, and so on every page of the row.
"""

from __future__ import annotations

from bench.method import Journal


class Guards:
    """What the guards of one training have said: sentences by the guard's name."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.said: dict[str, str] = {}

    def say(self, guard: str, sentence: str) -> None:
        """Let a guard speak; what it has said before is not said again."""
        if sentence and guard not in self.said:
            self.said[guard] = sentence
            self.journal.note(sentence)
