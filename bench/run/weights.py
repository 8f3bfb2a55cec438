"""Pretrained weights: from a file that the user names, or from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from bench.errors import MethodError
from bench.method import Recipe

SUFFIXES = (".safetensors", ".pth", ".pt")
HUB_FILE = "model.safetensors"
HUB_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Weights:
    """A file of weights and its sha256, or neither: then training starts from scratch."""

    path: Path | None = None
    sha256: str = ""


def find_weights(recipe: Recipe, given: Path | None) -> Weights:
    """The weights a recipe starts from; none where it wants none or they cannot be had.

    `given` is a file, or a folder with <model>.safetensors (.pth, .pt). Without it the hub is
    asked, unless HF_HUB_OFFLINE is set. Raises MethodError where `given` has not what is wanted.
    """
    if recipe.pretrained is None:
        return Weights()
    path = _given_file(recipe, given) if given is not None else _from_hub(recipe.pretrained)
    if path is None:
        return Weights()
    with path.open("rb") as stream:
        return Weights(path.resolve(), hashlib.file_digest(stream, "sha256").hexdigest())


def _given_file(recipe: Recipe, given: Path) -> Path:
    if given.is_file():
        return given
    names = [f"{recipe.model}{suffix}" for suffix in SUFFIXES]
    found = [given / name for name in names if (given / name).is_file()]
    if not found:
        raise MethodError(
            f"--weights {given}: neither a file nor a folder with {' or '.join(names)}; "
            f"fetch {recipe.pretrained} from the hub, or leave --weights out to train from scratch"
        )
    return found[0]


def _from_hub(repository: str) -> Path | None:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(repository, HUB_FILE)
    except ValueError:
        raise MethodError(f"pretrained={repository!r}: is no repository name on the hub") from None
    if isinstance(cached, str):
        return Path(cached)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return None
    try:
        # asked first, since the download alone retries for 23 s where there is no network
        HfApi().model_info(repository, timeout=HUB_TIMEOUT_SECONDS)
        return Path(hf_hub_download(repository, HUB_FILE))
    except Exception:  # noqa: BLE001 - whatever the network does, the run goes on from scratch
        return None
