"""Cost of building an image cache, and the time that it saves in every epoch.

    OMP_NUM_THREADS=1 python -m benchmarks.store > benchmarks/results/store.txt
    OMP_NUM_THREADS=1 python -m benchmarks.store --images DIR   (real originals instead)

10,015 JPEG files of 600x450 pixels, as HAM10000 publishes them, drawn or taken from DIR; few of
them differ, the rest are links to them, so files come from memory and not from a disk. Each store
is built in a process of its own, so that its peak memory is its own: a quarter of the images and
all of them. The loader's cost is the processor time of one thread an image: from the store, 32 at a
time in random order, against decoding the file and putting it through the chain, as a loader
without a store does in every epoch. What both do afterwards is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from bench.data.cache import build_cache
from bench.data.images import decode
from bench.data.open import OpenDataset
from bench.data.preprocess import Chain, described, preprocess_image_cv, preprocessing, recorded
from bench.dataset import Dataset, Record
from bench.method import Images
from bench.recipe import Recipe
from benchmarks import machine

DIFFERENT, QUALITY, BATCH = 64, 95, 32
RECIPES = {
    "plain": Recipe(image_size=224),
    "all": Recipe(image_size=224, hair_removal=True, colour_constancy=6, clahe=2),
}
GOAL = 12


class Built(NamedTuple):
    """A built store's cost, and where it lies."""

    wall: float
    cpu: float
    peak_mib: float
    folder: str


def draw(rng: np.random.Generator) -> np.ndarray:
    """Skin (450, 600, 3) uint8 BGR with a lesion, pores, noise, and hairs on every other."""
    coarse = rng.normal(0, 12, (45, 60, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (600, 450), interpolation=cv2.INTER_CUBIC)
    picture += rng.normal(0, 6, picture.shape) + np.array([150, 165, 215])
    middle = (int(rng.integers(200, 400)), int(rng.integers(150, 300)))
    axes = (int(rng.integers(40, 140)), int(rng.integers(40, 120)))
    cv2.ellipse(picture, middle, axes, rng.uniform(0, 180), 0, 360, (60, 70, 110), -1)
    if rng.random() < 0.5:  # noqa: PLR2004
        for _ in range(int(rng.integers(3, 20))):
            ends = rng.integers(0, (600, 450), (2, 2)).tolist()
            cv2.line(picture, *ends, (30, 30, 40), int(rng.integers(1, 4)), cv2.LINE_AA)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.7), 0, 255).astype(np.uint8)


def originals(folder: Path, given: Path | None) -> list[Path]:
    """Some different image files."""
    if given is not None:
        return sorted(path for path in given.rglob("*.jpg"))
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{at:03d}.jpg" for at in range(DIFFERENT)]
    for path in paths:
        cv2.imwrite(str(path), draw(rng), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return paths


def dataset(folder: Path, images: list[Path], count: int) -> Path:
    """A folder of `count` links to the images."""
    folder.mkdir()
    for at in range(count):
        (folder / f"I{at:06d}.jpg").symlink_to(images[at % len(images)].resolve())
    return folder


def build_here(folder: Path, chain: Chain) -> Built:
    """Build the store of a folder in this process, and tell what it took."""
    records = [Record(path.stem, "nv") for path in folder.iterdir()]
    source = OpenDataset(Dataset.from_records("benchmark", ("nv",), records), folder)
    wall, cpu = time.perf_counter(), time.process_time()
    store = build_cache(source, chain)
    return Built(
        time.perf_counter() - wall,
        time.process_time() - cpu,
        machine.peak_mib(),
        str(store.folder),
    )


def build_apart(folder: Path, recipe: str, cache: Path) -> Built:
    """The same in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.store", "--build", str(folder), "--recipe", recipe]
    environment = os.environ | {"BENCH_CACHE": str(cache)}
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return Built(*json.loads(done.stdout.splitlines()[-1]))


def cpu_from_store(folder: Path, epochs: int) -> float:
    """Seconds of the processor an image, in random batches."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    images, rng = Images(pixels, np.arange(len(pixels))), np.random.default_rng(0)
    images.take(np.arange(len(pixels))[:BATCH])
    start, seen = time.thread_time(), 0
    for _ in range(epochs):
        order = rng.permutation(len(pixels))
        for first in range(0, len(order), BATCH):
            seen += len(images.take(order[first : first + BATCH]))
    return (time.thread_time() - start) / seen


def cpu_from_files(images: list[Path], chain: Chain, count: int) -> float:
    """Seconds of the processor an image, decoded and preprocessed."""
    cv2.setNumThreads(1)
    start = time.thread_time()
    for at in range(count):
        preprocess_image_cv(decode(images[at % len(images)].read_bytes()), chain)
    return (time.thread_time() - start) / count


def measure(count: int, given: Path | None, scratch: Path) -> None:
    images = originals(scratch / "originals", given)
    size = np.mean([path.stat().st_size for path in images]) / 1000
    print(f"{len(images)} different files of {size:.0f} kB on average\n")
    sizes = (max(1, count // 4), count)
    folders = {n: dataset(scratch / f"data{n}", images, n) for n in sizes}
    for name, recipe in RECIPES.items():
        chain = preprocessing(recipe)
        print(f"{described(recorded(chain))}")
        print(f"{'  build':<22}{'wall s':>10}{'processor s':>13}{'peak MiB':>11}{'3 min':>8}")
        for n, folder in folders.items():
            built = build_apart(folder, name, scratch / "cache")
            within = "yes" if built.wall <= 180 else "NO"  # noqa: PLR2004
            print(
                f"  {n:>8,} images{'':<5}{built.wall:>10.1f}{built.cpu:>13.1f}"
                f"{built.peak_mib:>11.0f}{within:>8}",
                flush=True,
            )
        again = build_apart(folders[count], name, scratch / "cache")
        print(f"  {'found in the cache':<19}{again.wall:>10.1f}{again.cpu:>13.1f}")
        fast = cpu_from_store(Path(built.folder), epochs=3)
        slow = cpu_from_files(images, chain, min(count, 300))
        verdict = "reached" if slow / fast >= GOAL else "MISSED"
        print(
            f"  an image of an epoch: {fast * 1e6:.0f} us from the store, {slow * 1e6:,.0f} us "
            f"from its file: {slow / fast:.0f} times (goal {GOAL}: {verdict})\n",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=10_015, help="images")
    parser.add_argument("--images", type=Path, help="folder of real JPEG files")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--recipe", choices=RECIPES, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.build:
        print(json.dumps(build_here(options.build, preprocessing(RECIPES[options.recipe]))))
        return
    packages = ("numpy", "opencv-python-headless", "pillow")
    about = machine.described(*packages, used="of which all build, and one loads")
    print(__doc__.split("\n\n")[0], about, "", sep="\n\n", end="")
    with tempfile.TemporaryDirectory(prefix="store-benchmark-") as scratch:
        measure(options.count, options.images, Path(scratch))


if __name__ == "__main__":
    main()
