"""SIGINT and SIGTERM: the step is finished, the state kept, and only then does the signal act."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace

import pytest

from bench.io import defer_signals
from bench.train import checkpoint, fit_predict
from bench.train.loop import Training
from tests.train.conftest import RecordingJournal
from tests.train.test_loop import EVERYTHING


class Ended(BaseException):
    """What a signal's handler raises."""


@pytest.fixture(autouse=True)
def handlers():
    def end(*_: object) -> None:
        raise Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_after_its_step_and_nothing_is_lost(
    make_task, monkeypatch, number
):
    expected = fit_predict(make_task(EVERYTHING, "unbroken")).probs
    task = make_task(EVERYTHING, "broken")
    step = Training._take_step
    with monkeypatch.context() as context, pytest.raises(Ended):

        def signalled(self: Training) -> None:
            if self.progress.step == 6:
                signal.raise_signal(number)
            step(self)

        context.setattr(Training, "_take_step", signalled)
        fit_predict(task)
    assert checkpoint.load_last(task.folder).state["step"] == 7
    assert (fit_predict(replace(task, journal=RecordingJournal())).probs == expected).all()


def test_a_second_signal_does_not_wait():
    with pytest.raises(Ended), defer_signals() as held:
        signal.raise_signal(signal.SIGINT)
        assert held
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the second signal must act at once")


def test_a_signal_that_nobody_asked_about_acts_at_the_end():
    done = []
    with pytest.raises(Ended), defer_signals():
        signal.raise_signal(signal.SIGTERM)
        done.append("the work")
    assert done == ["the work"]
    with pytest.raises(Ended):
        signal.raise_signal(signal.SIGTERM)  # the handlers are back


def test_outside_the_main_thread_nothing_is_held_back():
    def work() -> None:
        with defer_signals() as held:
            assert not held

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
