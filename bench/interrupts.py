"""SIGINT and SIGTERM held back until it suits: between two steps, not within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Held:
    """A signal that waits, if one came."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def __bool__(self) -> bool:
        return self.number is not None

    def hold(self, number: int, _frame: FrameType | None) -> None:
        """Remember a signal. A second one does not wait: whoever sends it is in a hurry."""
        self._restore()
        self.number = number

    def let_go(self) -> None:
        """Let the signal that waits do what it would have done. Nothing if there is none."""
        if self.number is not None:
            number, self.number = self.number, None
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[Held]:
    """Hold SIGINT and SIGTERM back within; what still waits at the end is let go then.

    Outside the main thread, where Python sets no handlers, nothing is held back.
    """
    held = Held()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    for number in SIGNALS:
        signal.signal(number, held.hold)
    try:
        yield held
    finally:
        held._restore()  # noqa: SLF001 - of this module
    held.let_go()
