"""The engine's epoch beside a notebook's loop, timm's parts, Lightning's Trainer and a bare loop.

    OMP_NUM_THREADS=1 python -m benchmarks.engine > benchmarks/results/engine.txt
    python -m benchmarks.engine --parts jobs    (the last part alone: it wants every core)
    python -m benchmarks.engine --device cuda --size 224 --batch 64 --images 4096

All train one model on the same images, in batches of one size, on one thread and without workers,
so that what is compared is work. The notebook decodes, frees of hair, applies CLAHE and augments
each image in each epoch; timm reads small JPEG files; Lightning has the images in memory, as the
engine has them in its store. The bare loop has tensors that need nothing done to them any more.
They take turns, an epoch a turn, and the ratio is formed within each turn: its median, smallest and
largest are told, so that another process disturbs both sides.

Then the engine's defaults: what channels_last, the fused optimizer, the foreach average and
bfloat16 change in a step. Then jobs of one thread beside one job of all threads. On a GPU the
engine is timed beside the bare loop alone, both in bfloat16 mixed precision.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from bench.data.images import decode
from bench.data.preprocess import preprocess_image_cv, preprocessing
from bench.dataset import UnlabelledRecord
from bench.method import FoldTask, Images, LabelledPart, Part
from bench.recipe import Recipe
from bench.run.worker import SilentJournal
from bench.train.evaluate import Scale
from bench.train.fabric import build_fabric
from bench.train.loop import Training
from bench.train.optim import build_ema
from benchmarks import engine_others as others
from benchmarks.machine import described
from benchmarks.store import originals

AUGMENTED = {
    "rotation": others.ROTATION, "hflip": 0.5, "vflip": 0.5, **others.JITTER,
}  # fmt: skip
PLAIN = {"hflip": 0.0, "vflip": 0.0}
PARTS = ["others", "defaults", "jobs"]
GOALS = {"notebook": 5.0, "timm": 1.0, "Lightning": 1.0}


def engine(
    recipe: Recipe, pixels: np.ndarray, labels: np.ndarray, folder: Path, device: str
) -> others.Epoch:
    """The engine's own epoch, from the store's pixels to the step."""
    records = tuple(UnlabelledRecord(f"I{at}") for at in range(len(labels)))
    images = Images(pixels, np.arange(len(labels)))
    groups = np.array([record.image_id for record in records], dtype=object)
    part = LabelledPart(records, images, labels, groups)
    classes = tuple(str(label) for label in range(others.CLASSES))
    task = FoldTask(
        classes, part, part, Part(records, images), recipe, 0, 0, device, torch.get_num_threads(),
        None, folder, SilentJournal(), checkpoint_seconds=1e9,
    )  # fmt: skip
    fabric = build_fabric(task)
    model = others.network(recipe.model).to(fabric.device)
    training = Training(task, fabric, model, Scale.of(model, fabric.device))
    epochs = iter(range(10**6))

    def epoch() -> float:
        started = time.perf_counter()
        training._train_epoch(next(epochs))
        seconds = time.perf_counter() - started
        training.progress.epoch = training._new_epoch()
        return seconds

    return epoch


def take_turns(contenders: Mapping[str, others.Epoch], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender's epochs, one a round in turn; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, epoch in contenders.items():
            seconds = epoch()
            if turn:
                found[name].append(seconds)
    return found


def ratio(first: list[float], second: list[float]) -> str:
    """`1.23 (1.20 to 1.30)`: how much longer the first took than the second, round by round."""
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    return f"{statistics.median(ratios):6.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def beside_others(asked: argparse.Namespace, scratch: Path) -> None:
    drawn = originals(scratch / "originals", None)
    files = [drawn[at % len(drawn)] for at in range(asked.images)]
    recipe = Recipe(
        model=asked.model, image_size=asked.size, batch_size=asked.batch, hair_removal=True, clahe=2
    )
    chain = preprocessing(recipe)
    distinct = [preprocess_image_cv(decode(file.read_bytes()), chain) for file in drawn]
    pixels = np.stack([distinct[at % len(drawn)] for at in range(asked.images)])
    labels = np.random.default_rng(0).integers(0, others.CLASSES, len(files))
    workers, batch, model, device = asked.workers, asked.batch, asked.model, asked.device
    augmented, plain = recipe.with_overrides(AUGMENTED), recipe.with_overrides(PLAIN)
    contenders = {
        "engine": engine(augmented, pixels, labels, scratch / "a", device),
        "engine, no augmentation": engine(plain, pixels, labels, scratch / "p", device),
        "bare loop": others.bare(model, pixels, labels, batch, device),
    }
    if device == "cpu":
        small = others.write_small(pixels, labels, scratch / "small")
        contenders |= {
            "Lightning": others.lightning_trainer(model, pixels, labels, batch, workers),
            "timm": others.timm_parts(model, small, asked.size, batch, workers),
            "notebook": others.notebook(model, files, labels, asked.size, batch, workers),
        }
    found = take_turns(contenders, asked.rounds)
    shown = len(files) // batch * batch
    print(f"{'':28}ms an image   times the engine's (smallest to largest of the rounds)")
    for name, seconds in found.items():
        each = 1000 * statistics.median(seconds) / shown
        print(f"{name:28}{each:8.2f}      {ratio(seconds, found['engine'])}")
    times = ratio(found["engine, no augmentation"], found["bare loop"])
    goal = "1.03 or less" if device == "cpu" else "with augmentation 1.11 or less"
    print(f"\nthe engine without augmentation takes {times} times the bare loop (goal: {goal})")
    if device == "cpu":
        for name, least in GOALS.items():
            print(f"goal: {name} takes at least {least:g} times the engine's")


def stepper(
    model: str, size: int, batch: int, *, channels_last: bool = True, fused: bool = True,
    foreach: bool | None = True, bf16: bool = False,
) -> others.Epoch:  # fmt: skip
    """Eight steps on a constant batch."""
    net = others.network(model, channels_last=channels_last)
    ema = build_ema(net, Recipe(ema_decay=0.99)) if foreach is not None else None
    if ema is not None:
        ema.foreach = foreach
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=fused, foreach=False)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.rand(batch, 3, size, size).contiguous(memory_format=layout)
    targets = torch.zeros(batch, dtype=torch.long)

    def epoch() -> float:
        started = time.perf_counter()
        for step in range(8):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = net(images)
            functional.cross_entropy(logits.float(), targets).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if ema is not None:
                ema.update(net, step)
        return time.perf_counter() - started

    return epoch


def defaults(asked: argparse.Namespace) -> None:
    for model in dict.fromkeys((asked.model, "resnet18")):
        make = partial(stepper, model, asked.size, asked.batch)
        contenders = {
            "as the engine does": make(),
            "not channels_last": make(channels_last=False),
            "optimizer not fused": make(fused=False),
            "average not foreach": make(foreach=False),
            "no average": make(foreach=None),
            "bfloat16": make(bf16=True),
        }
        found = take_turns(contenders, asked.rounds)
        print(f"\n{model}: a step of {asked.batch}")
        for name, seconds in found.items():
            each = 1000 * statistics.median(seconds) / 8 / asked.batch
            print(f"{name:28}{each:8.2f}      {ratio(seconds, found['as the engine does'])}")


def threads_and_jobs(asked: argparse.Namespace) -> None:
    """Steps of jobs of one thread on all cores, beside one job of as many threads."""
    cores = os.cpu_count() or 1
    words = [sys.executable, "-m", "benchmarks.engine", "--steps-for", str(asked.seconds)]
    words += ["--model", asked.model, "--size", str(asked.size), "--batch", str(asked.batch)]
    print(f"\nimages a second of all jobs together, {cores} cores", flush=True)
    for jobs, threads in ((1, 1), (cores, 1), (1, cores)):
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        running = [
            subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
            for _ in range(jobs)
        ]
        speeds = [float(process.communicate()[0]) for process in running]
        print(f"{jobs} jobs of {threads} threads    {sum(speeds):8.1f}")


def steps_for(asked: argparse.Namespace) -> None:
    """Print this process's images a second, over so many seconds after a warm-up."""
    epoch = stepper(asked.model, asked.size, asked.batch)
    epoch()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < asked.steps_for:
        epoch()
        steps += 8
    print(steps * asked.batch / (time.perf_counter() - started))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="efficientnet_b0")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=15, help="of each of threads and jobs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--steps-for", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if asked.steps_for is not None:
        steps_for(asked)
        return
    used = f"of which {torch.get_num_threads()} is used, but for the last part"
    print(described("torch", "timm", "pytorch-lightning", "opencv-python-headless", used=used))
    print(
        f"{asked.model}, {asked.images} images of 600x450 at {asked.size} px, batches of "
        f"{asked.batch}, {asked.workers} workers, {asked.rounds} rounds\n"
    )
    if "others" in asked.parts:
        with tempfile.TemporaryDirectory() as scratch:
            beside_others(asked, Path(scratch))
    if asked.device != "cpu":
        return
    if "defaults" in asked.parts:
        defaults(asked)
    if "jobs" in asked.parts:
        threads_and_jobs(asked)


if __name__ == "__main__":
    main()
