"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from bench.data.open import DatasetSpec
from bench.settings import DEFAULT_RESULTS

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
        from bench.data.open import LAYOUTS, DatasetSpec
        from bench.data.readers.csv_table import parse_columns
        from bench.errors import DataError

        if layout is not None and layout not in LAYOUTS:
            raise DataError(f"--layout {layout}: unknown; known are {', '.join(LAYOUTS)}")
        known = parse_columns(columns)
        return command(data=DatasetSpec(data, dataset_name, groups, known, layout), **rest)

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
    from bench import io
    from bench.errors import ResultsError

    for path in paths:
        try:
            io.refuse_unwritable(path)
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


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers separated by commas: 0,2."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            numbers = tuple(dict.fromkeys(int(number) for number in str(value).split(",")))
        except ValueError:
            numbers = (-1,)
        if min(numbers) < 0:
            self.fail(f"{value!r} is not a list of whole numbers from 0 such as 0,2", param, ctx)
        return numbers


class FiniteRange(click.FloatRange):
    """A number in a range; nan, which no range keeps out, and infinity are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


DEFAULT_METHODS = ("custom_cnn", "resnet18", "efficientnet_phase4")


@dataclass(frozen=True)
class Options:
    """What the user asked of a run.

    variants  switches to override, once for each training that a method gets: one for `run`
    """

    data: DatasetSpec
    methods: tuple[str, ...]
    results: Path
    seeds: tuple[int, ...] | None
    folds: tuple[int, ...] | None
    variants: tuple[Mapping[str, Any], ...]
    device: str
    executor: str
    address: str | None
    jobs: int | None
    jobs_per_device: int
    devices_per_job: int
    threads: int
    checkpoint_seconds: float
    job_timeout: float | None
    job_memory: float | None
    job_disk: float | None
    tensorboard: bool
    weights: Path | None
    unlabelled: Path | None
    replace: bool


_OPTIONS = (
    click.option(
        "--method",
        "methods",
        multiple=True,
        help=f"A method's name or FILE.py; repeatable. Default: {', '.join(DEFAULT_METHODS)}.",
    ),
    click.option("--seeds", type=Numbers(), help="Seeds, such as 0,1. Default: the protocol's."),
    click.option("--folds", type=Numbers(), help="Folds, such as 0,2. Default: all."),
    click.option(
        "--set", "settings", multiple=True, help="A recipe's switch: key=value; repeatable."
    ),
    click.option(
        "--image-size", type=click.IntRange(8, 4096), help="Short for --set image_size=N."
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What to train on; auto takes the GPU where there is one.",
    ),
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Who runs the jobs: this machine, or Ray.",
    ),
    click.option(
        "--address",
        help="A running Ray cluster (host:port, or auto). Default: Ray is started here.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1),
        help="Jobs at once. Default: one a core (over --threads) on a CPU, one a GPU otherwise.",
    ),
    click.option(
        "--jobs-per-device",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Jobs at once on each GPU.",
    ),
    click.option(
        "--devices-per-job",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Devices (on a CPU: processes) that share each training; recorded, like --threads.",
    ),
    click.option(
        "--checkpoint-seconds",
        type=FiniteRange(0),
        default=60.0,
        show_default=True,
        help="Longest time of training that an interruption may undo. Changes no number.",
    ),
    click.option(
        "--job-timeout",
        type=FiniteRange(0, min_open=True),
        help="Seconds after which a job is ended, with all that it has started; others go on.",
    ),
    click.option(
        "--job-memory",
        type=FiniteRange(0, min_open=True),
        help="GiB of memory of its own that a job may take; then it is ended, others go on.",
    ),
    click.option(
        "--job-disk",
        type=FiniteRange(0, min_open=True),
        help="GiB that a job may write into its folder; then it is ended, others go on.",
    ),
    click.option(
        "--tensorboard/--no-tensorboard",
        default=True,
        show_default=True,
        help="Write TensorBoard's events beside each job's results. Changes no number.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="CPU threads a job; part of what makes its numbers, so it is recorded.",
    ),
    click.option(
        "--weights",
        type=click.Path(exists=True, path_type=Path),
        help="Pretrained weights: a file, or a folder with <model>.safetensors. Say what they have "
        "seen with --set pretraining_data=...; undeclared ones are not ranked.",
    ),
    click.option(
        "--unlabelled",
        type=click.Path(path_type=Path),
        help="Folder of images without labels, for pseudo-labels; refused if any is a copy of a "
        "test or val image. Each fold's model labels its own (--set pseudo_threshold=0.9).",
    ),
    click.option(
        "--replace", is_flag=True, help="Train finished jobs again that other code or weights made."
    ),
    click.option("--dry-run", is_flag=True, help="Show the jobs and what is done; train nothing."),
)


def training_options(command: Command) -> Command:
    """The options of verbs that train."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def as_options(
    *,
    settings: tuple[str, ...],
    image_size: int | None,
    variants: tuple[Mapping[str, Any], ...] = ({},),
    **rest: Any,
) -> Options:
    """Read what a verb was given. Raises MethodError for a setting without a value."""
    from bench.method import parse_overrides

    overrides: dict[str, Any] = dict(parse_overrides(settings))
    if image_size is not None:
        overrides["image_size"] = image_size
    return Options(variants=tuple(overrides | dict(variant) for variant in variants), **rest)
