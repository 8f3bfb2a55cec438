"""The files of a Hugging Face Space: a page of its own, with models, examples and what it needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench.cli.places import ROOT
from bench.errors import ResultsError
from bench.files import write_atomically
from bench.notice import NO_DEVICE

EXAMPLE_IMAGES = ROOT / "docs" / "examples" / "images"
NEEDED = (
    "click", "filelock", "gradio", "grad-cam", "lightning-fabric", "numpy",
    "opencv-python-headless", "pandas", "pillow", "platformdirs", "pydantic", "safetensors",
    "scikit-learn", "timm", "torch", "torchvision",
)  # fmt: skip
"""Packages that the page imports; the test of the Space proves that no other one is."""
LICENCES = {"synthetic": "mit", "ham10000": "cc-by-nc-sa-4.0", "isic2018": "cc-by-nc-4.0"}
"""What the data of a model allows, in the hub's words."""
APP = '''"""The page of this Space. It runs anywhere: python app.py"""

from pathlib import Path

from bench.cli.demo_page import folder_page, serve

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
{licence}. The example images are synthetic, drawn by a program; no patient stands behind them.
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
        notice=NO_DEVICE,
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
            f"--export-space: nobody knows what the data of {', '.join(sorted(set(datasets)))} "
            "allows; say it in the hub's words (--licence cc-by-nc-4.0)"
        )
    return str(known.pop())
