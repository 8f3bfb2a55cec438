"""The training loops that the engine is timed beside, each as its own users would write it."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from PIL import Image
from timm.data import ImageDataset, create_loader
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import v2

from bench.train.evaluate import Scale

CLASSES = 7
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JITTER = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}
ROTATION = 30
Epoch = Callable[[], float]
"""Trains an epoch; gives its wall seconds."""


def network(name: str, *, channels_last: bool = True) -> nn.Module:
    """The model that all train, from the same weights."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, num_classes=CLASSES)
    return model.to(memory_format=torch.channels_last) if channels_last else model


class NotebookImages(Dataset[tuple[torch.Tensor, int]]):
    """Files, decoded, freed of hair, with CLAHE and augmented anew each time, as notebooks do."""

    def __init__(self, files: list[Path], labels: np.ndarray, size: int) -> None:
        self.files, self.labels = files, labels
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.Resize((size, size)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomVerticalFlip(),
                transforms.RandomRotation(ROTATION),
                transforms.ColorJitter(**JITTER),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        image = cv2.cvtColor(cv2.imread(str(self.files[at])), cv2.COLOR_BGR2RGB)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (17, 17))
        dark = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel)
        _, hairs = cv2.threshold(dark, 10, 255, cv2.THRESH_BINARY)
        lab = cv2.cvtColor(cv2.inpaint(image, hairs, 1, cv2.INPAINT_TELEA), cv2.COLOR_RGB2LAB)
        lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0])
        tensor = self.transform(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))
        return tensor, int(self.labels[at])


def notebook(
    model: str, files: list[Path], labels: np.ndarray, size: int, batch: int, workers: int
) -> Epoch:
    """(a) A notebook's loop."""
    net = network(model, channels_last=False)
    loader = DataLoader(
        NotebookImages(files, labels, size),
        batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> float:
        net.train()
        started, running, hits = time.perf_counter(), 0.0, 0
        for images, targets in loader:
            optimizer.zero_grad()
            logits = net(images)
            loss = criterion(logits, targets)
            loss.backward()
            optimizer.step()
            running += loss.item()
            hits += int((logits.argmax(1) == targets).sum())
        return time.perf_counter() - started

    return epoch


def timm_parts(model: str, folder: Path, size: int, batch: int, workers: int) -> Epoch:
    """(b) timm's dataset, loader, transforms and optimizer; its files have the model's size."""
    net = network(model)
    loader = create_loader(
        ImageDataset(str(folder)),
        input_size=(3, size, size),
        batch_size=batch,
        is_training=True,
        scale=(0.9, 1.0),
        ratio=(1.0, 1.0),
        hflip=0.5,
        vflip=0.5,
        color_jitter=(0.2, 0.2, 0.2, 0.02),  # type: ignore[arg-type]
        interpolation="bilinear",
        num_workers=workers,
        persistent_workers=workers > 0,
        use_prefetcher=False,
        device=torch.device("cpu"),
    )
    optimizer = create_optimizer_v2(net, "adamw", lr=1e-3, weight_decay=1e-2, fused=True)
    criterion, losses = nn.CrossEntropyLoss(), AverageMeter()  # type: ignore[no-untyped-call]

    def epoch() -> float:
        net.train()
        started = time.perf_counter()
        for images, targets in loader:
            loss = criterion(net(images.contiguous(memory_format=torch.channels_last)), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.update(loss.item(), len(images))  # type: ignore[no-untyped-call]
        return time.perf_counter() - started

    return epoch


class MemoryImages(Dataset[tuple[torch.Tensor, int]]):
    """Images in memory, augmented one by one by torchvision."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        self.labels = labels
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.RandomRotation(ROTATION, interpolation=v2.InterpolationMode.BILINEAR),
                v2.ColorJitter(**JITTER),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pixels[at]), int(self.labels[at])


def lightning_trainer(
    model: str, pixels: np.ndarray, labels: np.ndarray, batch: int, workers: int
) -> Epoch:
    """(c) Lightning's Trainer on images in memory, its bars, logs and checkpoints switched off."""
    import pytorch_lightning as lightning

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(model)

        def training_step(self, step: Any, _: int) -> torch.Tensor:
            images, targets = step
            logits = self.net(images.contiguous(memory_format=torch.channels_last))
            return functional.cross_entropy(logits, targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, fused=True)

        def on_train_epoch_start(self) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.perf_counter() - self.started

    module = Module()
    loader = DataLoader(
        MemoryImages(pixels, labels), batch, shuffle=True, num_workers=workers, drop_last=True
    )

    def epoch() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few workers, of Slurm
            trainer = lightning.Trainer(
                max_epochs=1,
                accelerator="cpu",
                devices=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, loader)
        return module.seconds

    return epoch


def batches_of(
    pixels: np.ndarray, labels: np.ndarray, batch: int, device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Normalised images, channels last, with their labels, all made beforehand."""
    scale = Scale(*(torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD)))
    for start in range(0, len(labels) - batch + 1, batch):
        part = slice(start, start + batch)
        images = scale.normalise(scale.unit(pixels[part]))
        targets = torch.from_numpy(labels[part]).to(device)
        yield images.contiguous(memory_format=torch.channels_last), targets


def bare(
    model: str, pixels: np.ndarray, labels: np.ndarray, batch: int, device: str = "cpu"
) -> Epoch:
    """A bare loop over tensors in memory: nothing but forward, backward and the step."""
    net = network(model).to(device)
    batches = list(batches_of(pixels, labels, batch, device))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)

    def epoch() -> float:
        net.train()
        started, loss = time.perf_counter(), torch.zeros(())
        for images, targets in batches:
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = net(images)
            loss = functional.cross_entropy(logits.float(), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss.item()  # a GPU has done all before it can tell this
        return time.perf_counter() - started

    return epoch


def write_small(pixels: np.ndarray, labels: np.ndarray, folder: Path) -> Path:
    """The images at the model's size as JPEG files, a folder a class: what timm's users have."""
    for at, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{at:05d}.jpg", quality=95)
    return folder
