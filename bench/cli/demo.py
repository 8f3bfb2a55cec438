"""`demo`: a web page that classifies images, on this machine, or as the files of a Space."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import click

from bench.cli.checkpoints import meant_checkpoints
from bench.cli.places import model_device_option
from bench.errors import BenchError
from bench.files import safe_name


@click.command()
@click.option(
    "--checkpoint",
    "given",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A best.safetensors, or a folder of results, whose best ones are averaged. Repeatable: "
    "each is a model to choose.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=7860,
    show_default=True,
    help="Port to listen at.",
)
@model_device_option
@click.option(
    "--export-space",
    "space",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files of a Hugging Face Space into this new folder instead; sends nothing.",
)
@click.option("--licence", help="Of the Space, in the hub's words. Default: that of known data.")
def demo(
    given: tuple[Path, ...],
    host: str,
    port: int,
    device: str,
    space: Path | None,
    licence: str | None,
) -> int:
    """Show a page that classifies uploaded images, with Grad-CAM. It needs no network.

    Needs requirements-demo.txt. Research software, no medical device.
    """
    if importlib.util.find_spec("gradio") is None:
        raise BenchError("demo needs gradio: pip install -r requirements-demo.txt")
    choices = named_choices(given)
    from bench.train.panel import Panel

    panels = {name: Panel.load(files, device) for name, files in choices.items()}
    if space is not None:
        from bench.cli.space import export_space, licence_of

        members = [member for panel in panels.values() for member in panel.members]
        datasets = [str(member.trained_on.get("dataset", "unknown data")) for member in members]
        about = {name: "; ".join(panel.about()) for name, panel in panels.items()}
        export_space(space, choices, about, licence_of(datasets, licence))
        click.echo(f"space: {space}; try it with: cd {space} && python app.py")
        return 0
    from bench.cli.demo_page import page, serve
    from bench.cli.space import EXAMPLE_IMAGES

    click.echo(f"http://{host}:{port}  (stop with Ctrl-C)")
    serve(page(panels, sorted(EXAMPLE_IMAGES.glob("*.png"))), host, port)
    return 0


def named_choices(given: Sequence[Path]) -> dict[str, list[Path]]:
    """The checkpoints meant by each path, by a name that tells the paths apart."""
    choices: dict[str, list[Path]] = {}
    for path in given:
        parts = path.resolve().parts
        name = safe_name(["-".join(parts[-2:] if path.is_file() else parts[-1:])])
        if name in choices:
            name = safe_name(["-".join(parts[-6:])])
        choices[name] = meant_checkpoints([path])
    return choices
