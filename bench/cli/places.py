"""Where things lie: the project's own folders, and the data and results of the user."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench.py"
PROTOCOLS = Path(os.environ.get("BENCH_PROTOCOLS") or ROOT / "protocols")
BASELINES = ROOT / "baselines"
COMMITTED = BASELINES / "results"

Command = TypeVar("Command", bound=Callable[..., object])


def protocol_option(command: Command) -> Command:
    """The option that names the protocol."""
    return click.option("--protocol", "-p", "protocol_name", required=True, help="Its name.")(
        command
    )


def data_options(command: Command) -> Command:
    """The options that name the data."""
    data = click.option(
        "--data",
        type=click.Path(path_type=Path),
        envvar="BENCH_DATA",
        help="Folder of the dataset; $BENCH_DATA sets it, too. Default: the synthetic set.",
    )
    name = click.option("--name", help="Name of the dataset, where its source has none.")
    return data(name(command))


def results_option(command: Command) -> Command:
    """The option that names the results folder."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=Path("results"),
        show_default=True,
        help="Folder of the results.",
    )(command)
