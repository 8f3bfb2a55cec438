"""Cost of augmentation: one draw per image in batches, compared with torchvision per image.

    OMP_NUM_THREADS=1 python -m benchmarks.augmentation > benchmarks/results/augmentation.txt

torchvision's v2 transforms draw once for a whole batch, so a draw an image means a call an image:
that is what a DataLoader's workers do, and what is timed here on float images in [0, 1]. Ours gets
the whole batch. Both on one thread, in turn, the fastest of `--rounds`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torchvision.transforms import v2

from bench.method import Recipe
from bench.train.augment import DRAWS, SAMPLE_DRAWS, Augment, Draws
from benchmarks.machine import described

Act = Callable[[torch.Tensor], torch.Tensor]
GEOMETRY = {"rotation": 180, "scale": 0.1}
COLOUR = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}
FLIPS = (v2.RandomHorizontalFlip(), v2.RandomVerticalFlip())
BILINEAR = v2.InterpolationMode.BILINEAR
CASES: dict[str, tuple[dict[str, object], Act]] = {
    "flips": ({}, v2.Compose(FLIPS)),
    "flips, rotation, scale": (
        GEOMETRY,
        v2.Compose([*FLIPS, v2.RandomAffine(180, scale=(0.9, 1.1), interpolation=BILINEAR)]),
    ),
    "flips, colour": (COLOUR, v2.Compose([*FLIPS, v2.ColorJitter(0.2, 0.2, 0.2, 0.02)])),
    "flips, RandAugment": (
        {"auto_augment": "rand"},
        v2.Compose([*FLIPS, v2.RandAugment(interpolation=BILINEAR)]),
    ),
    "flips, TrivialAugment": (
        {"auto_augment": "trivial"},
        v2.Compose([*FLIPS, v2.TrivialAugmentWide(interpolation=BILINEAR)]),
    ),
    "flips, erasing": ({"erasing_prob": 0.5}, v2.Compose([*FLIPS, v2.RandomErasing(0.5)])),
}


def ours(switches: dict[str, object], batch: int) -> Act:
    """The bench's augmentation, with new draws at every call."""
    augment, rng = Augment.of(Recipe.model_validate(switches)), np.random.default_rng(0)

    def act(images: torch.Tensor) -> torch.Tensor:
        numbers = (rng.random((batch, count), dtype=np.float32) for count in (DRAWS, SAMPLE_DRAWS))
        return augment(images, Draws(*numbers))

    return act


def image_by_image(transform: Act) -> Act:
    """torchvision's, called for each image."""
    return lambda images: torch.stack([transform(image) for image in images])


def milliseconds(act: Act, images: torch.Tensor) -> float:
    """Wall clock of one image."""
    started = time.perf_counter()
    act(images)
    return 1000 * (time.perf_counter() - started) / len(images)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.rand(options.batch, 3, options.size, options.size)
    images = images.contiguous(memory_format=torch.channels_last)
    print(described("torch", "torchvision"))
    print(
        f"batches of {options.batch} at {options.size} px, ms per image, "
        f"fastest of {options.rounds}\n"
    )
    print(f"{'':26} {'bench':>8} {'torchvision':>12} {'ratio':>7}")
    for name, (switches, transform) in CASES.items():
        acts = ours(switches, options.batch), image_by_image(transform)
        times = [[milliseconds(act, images) for act in acts] for _ in range(options.rounds)]
        mine, theirs = np.min(times, axis=0)
        print(f"{name:26} {mine:8.2f} {theirs:12.2f} {theirs / mine:7.1f}")


if __name__ == "__main__":
    main()
