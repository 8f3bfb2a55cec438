"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from bench.settings import DEFAULT_METHODS, DEFAULT_RESULTS

if TYPE_CHECKING:
    from bench.data.open import DatasetSpec
    from bench.workflows.run import RunOptions

Command = TypeVar("Command", bound=Callable[..., object])


def protocol_option(command: Command) -> Command:
    """Option: the protocol."""
    return click.option(
        "--protocol",
        "-p",
        "protocol_name",
        required=True,
        help='Protocol name; see "protocol list".',
        metavar="NAME",
    )(command)


def image_sizes_option(command: Command) -> Command:
    """Flag: subgroups by the size of the image files."""
    return click.option(
        "--image-sizes",
        is_flag=True,
        help="Read the size of every image file and show subgroups by it. Needs the images.",
    )(command)


def model_device_option(command: Command) -> Command:
    """Option: the device of trained models."""
    return click.option(
        "--device",
        type=click.Choice(["cpu", "cuda"]),
        default="cpu",
        show_default=True,
        help="Device of the trained models.",
    )(command)


_SOURCE_OPTIONS = (
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        envvar="BENCH_DATA",
        help="Folder of the dataset, or a file of arrays. Also set by $BENCH_DATA. "
        "Default: the embedded synthetic dataset.",
    ),
    click.option(
        "--dataset-name",
        help="Short name of the dataset, where its source has none. Default: the folder's.",
    ),
    click.option(
        "--groups",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV with image_id and patient_id (or lesion_id, group_id): adds groups, or joins "
        "the dataset's groups.",
    ),
    click.option(
        "--columns",
        help="Columns of your CSV table: image=...,label=...,group=... (also patient, lesion, "
        "age, sex, site, source); label=... alone selects a diagnosis column.",
    ),
    click.option(
        "--layout",
        help="Metadata layout, if the folder holds several: ham10000, isic2018, isic2019, "
        "isic2020, archive, manifest.",
    ),
    click.option(
        "--malignant",
        metavar="CLASS,...",
        help="Malignant classes. Default: those that the dataset is known for.",
    ),
)


def source_options(command: Command) -> Command:
    """Options that name the data; the command gets one `data: DatasetSpec` made of them."""

    @wraps(command)
    def with_choice(
        *,
        data: Path | None,
        dataset_name: str | None,
        groups: Path | None,
        columns: str | None,
        layout: str | None,
        malignant: str | None,
        **rest: Any,
    ) -> object:
        from bench.data.open import LAYOUTS, DatasetSpec
        from bench.data.readers.csv_table import parse_columns
        from bench.errors import DataError

        if layout is not None and layout not in LAYOUTS:
            raise DataError(f"--layout {layout}: unknown; known are {', '.join(LAYOUTS)}")
        known = parse_columns(columns)
        classes = tuple(filter(None, (malignant or "").split(",")))
        spec = DatasetSpec(data, dataset_name, groups, known, layout, classes)
        return command(data=spec, **rest)

    made: Callable[..., object] = with_choice
    for option in reversed(_SOURCE_OPTIONS):
        made = option(made)
    return cast("Command", made)


def refuse_unwritable(option: str, *paths: Path) -> None:
    """Raise ResultsError that names the option if a file could not be written at one of the paths.

    Call it before the work whose result the files will hold.
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
    """Option: the results folder."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=DEFAULT_RESULTS,
        show_default=True,
        help="Folder of the results.",
    )(command)


def existing_results_option(command: Command) -> Command:
    """Option: a results folder that exists."""
    return click.option(
        "--results",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=DEFAULT_RESULTS,
        show_default=True,
        help="Folder of the results.",
    )(command)


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Integers from 0 separated by commas, such as 0,2."""

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
    """A finite number in a range: NaN and infinity are refused."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


_OPTIONS = (
    click.option(
        "--method",
        "methods",
        multiple=True,
        help=f"Method name or FILE.py; repeatable. Default: {', '.join(DEFAULT_METHODS)}.",
    ),
    click.option("--seeds", type=Numbers(), help="Seeds, such as 0,1. Default: the protocol's."),
    click.option("--folds", type=Numbers(), help="Folds, such as 0,2. Default: all."),
    click.option("--set", "settings", multiple=True, help="Recipe option: key=value; repeatable."),
    click.option(
        "--image-size", type=click.IntRange(8, 4096), help="Short for --set image_size=N."
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Training device; auto uses a GPU if there is one.",
    ),
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Run jobs on this machine, or by Ray.",
    ),
    click.option(
        "--address",
        help="Address of a running Ray cluster (host:port, or auto). Default: start Ray here.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1),
        help="Jobs at once. Default: cores / --threads on a CPU, one for each GPU otherwise.",
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
        help="Devices (on a CPU: processes) that share one training; recorded, like --threads.",
    ),
    click.option(
        "--checkpoint-seconds",
        type=FiniteRange(0),
        default=60.0,
        show_default=True,
        help="Longest training time that an interruption can lose. Changes no number.",
    ),
    click.option(
        "--job-timeout",
        type=FiniteRange(0, min_open=True),
        help="Seconds after which a job and its processes are ended; other jobs go on.",
    ),
    click.option(
        "--job-memory",
        type=FiniteRange(0, min_open=True),
        help="Memory of a job in GiB; a job that takes more is ended; other jobs go on.",
    ),
    click.option(
        "--job-disk",
        type=FiniteRange(0, min_open=True),
        help="GiB that a job may write into its folder; then it is ended; other jobs go on.",
    ),
    click.option(
        "--tensorboard/--no-tensorboard",
        default=True,
        show_default=True,
        help="Write TensorBoard events beside each job's results. Changes no number.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="CPU threads of each job; recorded, because they change the numbers.",
    ),
    click.option(
        "--weights",
        type=click.Path(exists=True, path_type=Path),
        help="Pretrained weights: a file, or a folder with <model>.safetensors. Declare their "
        "training data with --set pretraining_data=...; undeclared rows are not ranked.",
    ),
    click.option(
        "--unlabelled",
        type=click.Path(path_type=Path),
        help="Folder of unlabelled images for pseudo-labels; refused if it holds a copy of a test "
        "or val image. Needs --set pseudo_threshold=0.9 or another value.",
    ),
    click.option(
        "--replace",
        is_flag=True,
        help="Train finished jobs again if their code, weights or threads differ.",
    ),
    click.option(
        "--mix-code",
        is_flag=True,
        help="Continue rows whose finished folds were made by other code of the bench; marks them.",
    ),
    click.option(
        "--keep-state",
        is_flag=True,
        help="Keep the state of the training (last.pt, with the optimizer) of finished jobs.",
    ),
    click.option("--dry-run", is_flag=True, help="List the jobs and their state; train nothing."),
)


def training_options(command: Command) -> Command:
    """Options of commands that train."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def as_options(
    *, data: DatasetSpec, settings: tuple[str, ...], image_size: int | None, **rest: Any
) -> RunOptions:
    """Read the options of a run. Raises MethodError for a setting without a value."""
    from bench.recipe import parse_overrides
    from bench.workflows.run import RunOptions

    overrides: dict[str, Any] = dict(parse_overrides(settings))
    if image_size is not None:
        overrides["image_size"] = image_size
    return RunOptions(data=data, variants=(overrides,), **rest)
