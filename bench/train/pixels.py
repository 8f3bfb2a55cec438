"""Images of a part in the memory of the device that trains on them, where there is room."""

from __future__ import annotations

import numpy as np
import torch

from bench.method import Images

SHARE = 0.25
"""Of the device's free memory that the images of one part may take."""


class ResidentImages:
    """Images (N, H, W, 3) uint8 RGB on a device; taken as from the store's Images."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self.pixels = torch.from_numpy(images.take(np.arange(len(images)))).to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, positions: np.ndarray) -> torch.Tensor:
        """Images (n, H, W, 3) uint8 RGB at the given positions."""
        return self.pixels[torch.from_numpy(positions).to(self.pixels.device)]


def near(images: Images, device: torch.device) -> Images | ResidentImages:
    """The images in a GPU's memory if they fit well; else, and for a CPU, where they are."""
    if device.type != "cuda":
        return images
    size = len(images) * int(np.prod(images.pixels.shape[1:]))
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentImages(images, device) if size <= SHARE * free else images
