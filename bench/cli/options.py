"""What `run` and `sweep` are asked: the options they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.cli.numbers import FiniteRange, Numbers
from bench.data.sources import DataChoice

DEFAULT_METHODS = ("custom_cnn", "resnet18", "efficientnet_phase4")

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True)
class Options:
    """What the user asked of a run.

    variants  switches to override, once for each training that a method gets: one for `run`
    """

    data: DataChoice
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
