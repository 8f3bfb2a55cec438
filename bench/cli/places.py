"""Where things lie: the project's own folders, and the data and results of the user."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench.py"
PROTOCOLS = Path(os.environ.get("BENCH_PROTOCOLS") or ROOT / "protocols")
BASELINES = ROOT / "baselines"
COMMITTED = BASELINES / "results"
DEFAULT_RESULTS = Path("results")

Command = TypeVar("Command", bound=Callable[..., object])


def protocol_option(command: Command) -> Command:
    """The option that names the protocol."""
    return click.option("--protocol", "-p", "protocol_name", required=True, help="Its name.")(
        command
    )


def image_sizes_option(command: Command) -> Command:
    """The flag that asks for subgroups by the size of the image files."""
    return click.option(
        "--image-sizes",
        is_flag=True,
        help="Read the size of every image's file, and show subgroups by it. Needs the images.",
    )(command)


def model_device_option(command: Command) -> Command:
    """The option that says where trained models run."""
    return click.option(
        "--device",
        type=click.Choice(["cpu", "cuda"]),
        default="cpu",
        show_default=True,
        help="What trained models run on.",
    )(command)


def source_options(command: Command, name_option: str = "--name") -> Command:
    """The options that name the data; the command gets one `data: DataChoice` of them.

    `name_option` is what the option of the dataset's name is called, where `--name` is another's.
    """

    @wraps(command)
    def with_choice(
        *,
        data: Path | None,
        dataset_name: str | None,
        groups: Path | None,
        columns: str | None,
        layout: str | None,
        **rest: Any,
    ) -> object:
        from bench.data.named import parse_columns
        from bench.data.sources import LAYOUTS, DataChoice
        from bench.errors import DataError

        if layout is not None and layout not in LAYOUTS:
            raise DataError(f"--layout {layout}: unknown; known are {', '.join(LAYOUTS)}")
        known = parse_columns(columns)
        return command(data=DataChoice(data, dataset_name, groups, known, layout), **rest)

    options = (
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            envvar="BENCH_DATA",
            help="Folder of the dataset, or a file of arrays; $BENCH_DATA sets it, too. "
            "Default: the synthetic set.",
        ),
        click.option(
            name_option, "dataset_name", help="Name of the dataset, where its source has none."
        ),
        click.option(
            "--groups",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="CSV with image_id and patient_id (or lesion_id, group_id): supplies groups, or "
            "joins those of the data.",
        ),
        click.option(
            "--columns",
            help="Columns of a CSV of your own: image=...,label=...,group=... (also patient, "
            "lesion, age, sex, site, source); label=... alone chooses among diagnoses.",
        ),
        click.option(
            "--layout",
            help="Whose metadata is meant, where a folder holds several: ham10000, isic2018, "
            "isic2019, isic2020, archive, manifest.",
        ),
    )
    made: Callable[..., object] = with_choice
    for option in reversed(options):
        made = option(made)
    return cast("Command", made)


def refuse_unwritable(option: str, *paths: Path) -> None:
    """Raise ResultsError that names the option, unless files could be written at all these paths.

    Asked before the work whose result they are to hold.
    """
    from bench import files
    from bench.errors import ResultsError

    for path in paths:
        try:
            files.refuse_unwritable(path)
        except OSError as error:
            raise ResultsError(
                f"{option} {path}: cannot be written ({error.filename}: {error.strerror}); "
                "name another place, or make this one writable"
            ) from None


def results_option(command: Command) -> Command:
    """The option that names the results folder."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=DEFAULT_RESULTS,
        show_default=True,
        help="Folder of the results.",
    )(command)


def existing_results_option(command: Command) -> Command:
    """The option that names a results folder that must be there already."""
    return click.option(
        "--results",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=DEFAULT_RESULTS,
        show_default=True,
        help="Folder of the results.",
    )(command)
