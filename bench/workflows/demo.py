"""The demo page (Gradio) and the files of a Hugging Face Space.

It asks nothing of any other place: Gradio's statistics are off, fonts are the system's own.
"""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gradio
import numpy as np
from PIL import Image

from bench.data.images import decode, read_picture
from bench.errors import BenchError, MethodError, ResultsError
from bench.io import write_atomically
from bench.settings import DISCLAIMER, ROOT
from bench.train.predictor import EnsemblePredictor, load_predictor

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"


TITLE = "Skin-lesion classifiers"
MODELS, EXAMPLES = "models", "examples"
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
BUTTONS = ["download", "fullscreen"]
"""Of a picture. Gradio's third one, "share", would send it to the Hugging Face hub."""


def page(choices: Mapping[str, EnsemblePredictor], examples: Sequence[Path] = ()) -> Any:
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
        gradio.Markdown(f"# {TITLE}\n\n**{DISCLAIMER}**")
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


def asked(
    panel: EnsemblePredictor, image: np.ndarray
) -> tuple[dict[str, float], Image.Image | None, str]:
    """What a panel says of an image: shares by class, the heat map, warnings and origin as text."""
    (opinion,) = panel.predict([image])
    lines = [f"- **Warning: {_plain(warning)}**" for warning in opinion.warnings]
    try:
        heat = Image.fromarray(panel.heat_map(image, opinion.predicted))
    except MethodError as error:
        heat = None
        lines.append(f"- no Grad-CAM: {_plain(str(error))}")
    lines += [f"- {_plain(sentence)}" for sentence in panel.about()]
    shares = dict(zip(panel.classes, map(float, opinion.probs), strict=True))
    return shares, heat, "\n".join(lines)


def serve(blocks: Any, host: str, port: int | None, *, wait: bool = True) -> str:
    """Serve the page; gives its address. Waits until it is stopped, if `wait`.

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
        each.name: load_predictor(sorted(each.glob("*.safetensors")))
        for each in sorted((folder / MODELS).iterdir())
        if each.is_dir()
    }
    return page(choices, sorted((folder / EXAMPLES).glob("*.png")))


def _plain(text: str) -> str:
    """Text that markdown and HTML leave as it is."""
    return html.escape(text).replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")


EXAMPLE_IMAGES = ROOT / "docs" / "examples" / "images"
NEEDED = (
    "click", "filelock", "gradio", "grad-cam", "lightning-fabric", "numpy",
    "opencv-python-headless", "pandas", "pillow", "pydantic", "safetensors",
    "scikit-learn", "timm", "torch", "torchvision",
)  # fmt: skip
"""Packages that the page imports; the test of the Space proves that no other one is."""
LICENCES = {"synthetic": "mit", "ham10000": "cc-by-nc-sa-4.0", "isic2018": "cc-by-nc-4.0"}
"""What the data of a model allows, in the hub's words."""
APP = '''"""The page of this Space. It runs anywhere: python app.py"""

from pathlib import Path

from bench.workflows.demo import folder_page, serve

if __name__ == "__main__":
    serve(folder_page(Path(__file__).parent), "0.0.0.0", 7860)
'''
CARD = """---
title: {title}
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
license: {licence}
pinned: false
---

# {title}

**{notice}**

Upload a dermatoscopic image, choose a model, and see its probabilities, where it looked, and what
warns that the image is unlike those it was trained on. No image is kept by this page's own code.

## Models

{models}

The code (`bench/`) is MIT licensed, see `LICENSE`. A model inherits what its training data allows:
{licence}. The example images are synthetic, drawn by a program; no patient is behind them.
"""


def export_space(
    folder: Path, choices: Mapping[str, Sequence[Path]], about: Mapping[str, str], licence: str
) -> None:
    """Write the files of a Space into a folder that is not there yet, or empty.

    choices  checkpoints by the name they are chosen by
    about    what is known of each, by the same names
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ResultsError(f"--export-space {folder}: is not empty; name a new folder")
    for name, files in choices.items():
        target = folder / "models" / name
        target.mkdir(parents=True)
        for number, file in enumerate(files):
            shutil.copyfile(file, target / f"{number}.safetensors")
    for path in (ROOT / "bench").rglob("*.py"):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (folder / "examples").mkdir()
    for path in sorted(EXAMPLE_IMAGES.glob("*.png")):
        shutil.copyfile(path, folder / "examples" / path.name)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    pins = "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in NEEDED)
    card = CARD.format(
        title="Skin-lesion classifiers",
        gradio=version("gradio"),
        python="3.11",
        licence=licence,
        notice=DISCLAIMER,
        models="\n".join(f"- `{name}`: {told}" for name, told in about.items()),
    )
    texts = {"app.py": APP, "requirements.txt": pins, "README.md": card}
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())


def licence_of(datasets: Sequence[str], given: str | None) -> str:
    """The licence that a Space names: the one given, else what is known of the models' data.

    Raises ResultsError where it is not known, or not one.
    """
    if given is not None:
        return json.dumps(given) if ":" in given else given
    known = {LICENCES.get(name) for name in datasets}
    if len(known) != 1 or None in known:
        raise ResultsError(
            f"--export-space: the licence of the data of {', '.join(sorted(set(datasets)))} "
            "is unknown; give it as the hub names it (--licence cc-by-nc-4.0)"
        )
    return str(known.pop())
