"""The page of `demo`, by Gradio: upload, model, probabilities, where the models looked, warnings.

It asks nothing of any other place: Gradio's statistics are off, fonts are the system's own.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio
import numpy as np
from PIL import Image

from bench.data.images import decode, read_picture
from bench.errors import BenchError, MethodError
from bench.notice import NO_DEVICE
from bench.train.panel import Panel

TITLE = "Skin-lesion classifiers"
MODELS, EXAMPLES = "models", "examples"
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
BUTTONS = ["download", "fullscreen"]
"""Of a picture. Gradio's third one, "share", would send it to the Hugging Face hub."""


def page(choices: Mapping[str, Panel], examples: Sequence[Path] = ()) -> Any:
    """The page for panels by the name they are chosen by."""

    def answer(
        path: str | None, name: str
    ) -> tuple[dict[str, float] | None, Image.Image | None, str]:
        if path is None:
            return None, None, "Give an image first."
        try:
            image = decode(read_picture(Path(path)))
        except (OSError, ValueError) as error:
            return None, None, f"This file cannot be read: {_plain(str(error))}"
        return asked(choices[name], image)

    names = list(choices)
    with gradio.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gradio.Markdown(f"# {TITLE}\n\n**{NO_DEVICE}**")
        with gradio.Row():
            with gradio.Column():
                # image_mode None: the file as it was uploaded, read as all others of the bench
                given = gradio.Image(
                    label="Image (JPEG or PNG)",
                    type="filepath",
                    image_mode=None,
                    sources="upload",
                    buttons=BUTTONS,
                )
                chosen = gradio.Dropdown(names, value=names[0], label="Model", filterable=False)
                button = gradio.Button("Classify", variant="primary")
            with gradio.Column():
                shares = gradio.Label(label="Probabilities")
                looked = gradio.Image(
                    label="Where it looked (Grad-CAM)", interactive=False, buttons=BUTTONS
                )
                said = gradio.Markdown()
        if examples:
            shown = [[str(path)] for path in examples]
            gradio.Examples(shown, inputs=[given], cache_examples=False, label="Examples")
        button.click(answer, inputs=[given, chosen], outputs=[shares, looked, said], api_name=False)
    return blocks


def asked(panel: Panel, image: np.ndarray) -> tuple[dict[str, float], Image.Image | None, str]:
    """What a panel says of an image: shares by class, the heat map, warnings and origin as text."""
    (opinion,) = panel.opinions([image])
    lines = [f"- **Warning: {_plain(warning)}**" for warning in opinion.warnings]
    try:
        heat = Image.fromarray(panel.heat(image, opinion.called))
    except MethodError as error:
        heat = None
        lines.append(f"- no Grad-CAM: {_plain(str(error))}")
    lines += [f"- {_plain(sentence)}" for sentence in panel.about()]
    shares = dict(zip(panel.classes, map(float, opinion.probs), strict=True))
    return shares, heat, "\n".join(lines)


def serve(blocks: Any, host: str, port: int | None, *, wait: bool = True) -> str:
    """Serve the page; gives its address. Waits until it is stopped, unless told not to.

    Raises BenchError where the port is taken.
    """
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            theme=gradio.themes.Base(**FONTS),
            prevent_thread_lock=not wait,
            quiet=not wait,
            share=False,
            ssr_mode=False,
            footer_links=[],
            max_file_size="50mb",
        )
    except OSError as error:
        raise BenchError(f"--port {port}: {error}; name another one") from None
    return str(address)


def folder_page(folder: Path) -> Any:
    """The page of a Space's folder: a choice for each folder below `models`."""
    choices = {
        each.name: Panel.load(sorted(each.glob("*.safetensors")))
        for each in sorted((folder / MODELS).iterdir())
        if each.is_dir()
    }
    return page(choices, sorted((folder / EXAMPLES).glob("*.png")))


def _plain(text: str) -> str:
    """Text that markdown and HTML leave as it is."""
    return html.escape(text).replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")
