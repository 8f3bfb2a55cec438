"""The command line: finds the verb, runs it, turns what goes wrong into one line and an exit code.

Exit 0 done; 1 some jobs, or the check asked for, failed; 2 the user's mistake; 130 and 143
interrupted, resumable. A verb's module is loaded when it is called, so `--help` is instant.
"""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

import click

VERBS = {
    "run": ("run", "Train what is not done yet, score it, write the leaderboard."),
    "sweep": ("sweep", "Choose hyperparameters on val only, fold by fold."),
    "report": ("report", "Score and render again from what is in the results folder."),
    "compare": ("report", "Compare two rows, or more, on the same images."),
    "ensemble": ("results", "Join rows of the results by weights chosen on val."),
    "publish": ("publish", "Make a static site of every leaderboard."),
    "gradcam": ("predict", "Draw where trained models looked."),
    "predict": ("predict", "Classify images by trained models."),
    "demo": ("predict", "Classify images in a web page, or write the files of one."),
    "submit": ("report", "Take predictions made elsewhere as a row of the leaderboard."),
    "protocol": ("protocol", "List, show, freeze and verify protocols."),
    "data": ("data", "Show what is in a dataset."),
    "method": ("method", "List the methods with their passports."),
    "status": ("results", "Say how far the jobs of a results folder are."),
    "verify-results": ("results", "Check that everything in a results folder is whole."),
    "merge": ("results", "Make two results folders one."),
    "plan": ("run", "Plan the jobs of a run for a cluster's scheduler."),
    "job": ("run", "Do one job, by its JOB.json or its number in a plan."),
    "doctor": ("method", "Say what this machine has, and what is missing for what."),
}


class LazyGroup(click.Group):
    """Loads a verb's module when the verb is called; help needs only the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"bench.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


class Terminated(BaseException):
    """SIGTERM, as an exception, so that what runs is stopped and locks are let go."""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of a user's mistake, too.")
def cli(debug: bool) -> None:  # noqa: FBT001 - main reads it, whatever the verb does
    """Patient-level cross-validation for skin-lesion classifiers."""


def main() -> None:
    """Run the command line and exit with its code."""
    # Importing and rendering make many small objects that live to the end: looking through them
    # for garbage as often as Python does by default took 4% of a report (2026-11-23).
    gc.set_threshold(100_000, 50, 1000)
    signal.signal(signal.SIGTERM, _terminate)
    # a shell starts what it puts into the background with SIGINT ignored, and so it would stay
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:  # its message is the help
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        click.echo(f"error: {in_one_line(error, sys.argv[1:])}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; the same command goes on from here", err=True)
        code = 128 + signal.SIGINT
    except Terminated:
        click.echo("terminated; the same command goes on from here", err=True)
        code = 128 + signal.SIGTERM
    except OSError as error:
        if error.filename is None:
            raise
        code = _mistaken(f"{error.filename}: {error.strerror}")
    except Exception as error:
        from bench.errors import BenchError

        if not isinstance(error, BenchError):
            raise
        code = _mistaken(str(error))
    # The process ends with all that it made: to look through that once more for garbage on the
    # way out would take 0.3 s of a report (2026-11-23).
    gc.freeze()
    sys.exit(code if isinstance(code, int) else 0)


def _mistaken(told: str) -> int:
    """Tell a user's mistake, in a line or, after --debug, by its traceback; the exit code."""
    from bench.io import strip_control

    if "--debug" in sys.argv[1:2]:
        traceback.print_exc()
    click.echo(strip_control(f"error: {told}"), err=True)
    return 2


def in_one_line(error: click.ClickException, words: Sequence[str]) -> str:
    """What is wrong with the words of a command line, and whose --help says what they may be."""
    from bench.io import strip_control

    told = " ".join(error.format_message().split()).rstrip(".")
    if not isinstance(error, click.UsageError):
        return strip_control(told)
    verb = error.ctx.command_path.split()[1:] if error.ctx else []
    if not verb:  # of an option without its value click knows the group alone
        verb = [word for word in words[:1] if word in VERBS]
    return strip_control(f"{told}; see: {' '.join(['python bench.py', *verb, '--help'])}")


def _terminate(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Terminated
