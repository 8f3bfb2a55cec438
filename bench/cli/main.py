"""The command line: find the command, run it, turn errors into one line and an exit code.

Exit 0 done; 1 some jobs, or the check asked for, failed; 2 the user's mistake; 130 and 143
interrupted, resumable. A command's module is loaded when it is called, so `--help` is fast.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

VERBS = {
    "run": ("run", "Train the jobs that are not done yet, score all rows, write the leaderboard."),
    "sweep": ("run", "Choose hyperparameters on val only, fold by fold."),
    "report": ("report", "Score and render again from the results folder."),
    "compare": ("report", "Compare two rows or more on the same images."),
    "ensemble": ("report", "Join rows by weights chosen on val."),
    "submit": ("report", "Add predictions made elsewhere as a row of the leaderboard."),
    "publish": ("report", "Make a static site of every leaderboard."),
    "gradcam": ("predict", "Draw Grad-CAM of trained models."),
    "predict": ("predict", "Classify images by trained models."),
    "demo": ("predict", "Classify images in a web page, or write the files of a Space."),
    "protocol": ("protocol", "List, show, freeze and verify protocols."),
    "data": ("data", "Inspect a dataset: contents, issues, duplicates, exploration, cache."),
    "method": ("method", "List, start and check methods; list recipe options."),
    "status": ("results", "Show the state of the jobs in a results folder."),
    "verify-results": ("results", "Check the integrity of a results folder."),
    "merge": ("results", "Copy one results folder into another."),
    "plan": ("run", "Plan the jobs of a run for a cluster's scheduler."),
    "job": ("run", "Do one job, by its JOB.json or its number in a plan."),
    "init": ("workspace", "Write bench.toml: options that commands would repeat."),
    "doctor": ("method", "Show what this machine has, and what is missing for which command."),
}


GROUPS = ("protocol", "data", "method")


class LazyGroup(click.Group):
    """Load a command's module when the command is called; help needs only the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"bench.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown one suggest the nearest names."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from bench.errors import suggest

            message = f"{error.message.rstrip('.')}{suggest(args[0], list(VERBS))}"
            raise click.UsageError(message, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


class Terminated(BaseException):
    """SIGTERM as an exception, so that running jobs are stopped and locks are released."""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of a user's mistake, too.")
@click.option(
    "--workspace",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="BENCH_WORKSPACE",
    help="Folder of your protocols, frozen roles, caches and bench.toml. Also set by "
    "$BENCH_WORKSPACE. Default: ./lesion-bench",
)
@click.pass_context
def cli(ctx: click.Context, debug: bool, workspace: Path | None) -> None:  # noqa: ARG001, FBT001
    """Patient-level cross-validation for skin-lesion classifiers."""
    if workspace is not None:
        os.environ["BENCH_WORKSPACE"] = str(workspace)
    ctx.default_map = _Defaults()


class _Defaults(dict[str, object]):
    """Defaults of every command, from the workspace's bench.toml; read when first needed."""

    def get(self, key: str, default: object = None) -> object:
        """Defaults of a command; of a group: of every command in it."""
        from bench.config import read_config

        if key == "init":
            return default
        values = read_config().given()
        return _GroupDefaults(values) if key in GROUPS else values or default


class _GroupDefaults(dict[str, object]):
    """The same defaults for every command of a group."""

    def get(self, key: str, default: object = None) -> object:  # noqa: ARG002
        """Defaults of a command of the group."""
        return dict(self)


def main() -> None:
    """Run the command line and exit with its code."""
    # Importing and rendering make many small objects that live to the end: Python's default
    # garbage collection took 4% of a report (2026-11-23).
    gc.set_threshold(100_000, 50, 1000)
    signal.signal(signal.SIGTERM, _terminate)
    # a shell starts background processes with SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
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
    # A last garbage collection at exit would take 0.3 s of a report (2026-11-23).
    gc.freeze()
    sys.exit(code if isinstance(code, int) else 0)


def _mistaken(message: str) -> int:
    """Print a user's mistake in one line, after --debug its traceback too; give the exit code."""
    from bench.io import strip_control

    if "--debug" in sys.argv[1:2]:
        traceback.print_exc()
    click.echo(strip_control(f"error: {message}"), err=True)
    return 2


def _words_of(ctx: click.Context | None) -> list[str]:
    """The command and its groups, without the program's name."""
    words = []
    while ctx is not None and ctx.parent is not None:
        words.append(ctx.info_name or "")
        ctx = ctx.parent
    return words[::-1]


def in_one_line(error: click.ClickException, words: Sequence[str]) -> str:
    """Describe an error of the command line, and name the --help that explains it."""
    from bench.io import strip_control

    message = " ".join(error.format_message().split()).rstrip(".?")
    if not isinstance(error, click.UsageError):
        return strip_control(message)
    verb = _words_of(error.ctx)
    if not verb:  # for an option without a value click knows only the group
        verb = [word for word in words[:1] if word in VERBS]
    return strip_control(f"{message}; see: {' '.join(['python bench.py', *verb, '--help'])}")


def _terminate(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Terminated
