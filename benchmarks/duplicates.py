"""Time of the search for near duplicates: all pairs, hash index, and real images.

    OMP_NUM_THREADS=1 python -m benchmarks.duplicates > benchmarks/results/duplicates.txt
    OMP_NUM_THREADS=1 python -m benchmarks.duplicates --data DIR [--thorough]

Without data: synthetic hashes of 256 bits in 8 views, drawn from common factors so that they are as
uneven as those of HAM10000 (8 times as many pairs share a bucket of 16 bits as if bits were fair
coins), with copies planted at 0 to 31 bits. Buckets find all of them, as all pairs do; the two are
compared on the smallest set. Times of all pairs of a million are scaled from 10,015.

With data: hashing, the search among the hashes, and the second look, on the user's images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.duplicates.near import LIMIT, LIMIT_OF_MANY, Duplicates, find_near_duplicates
from bench.data.duplicates.perceptual_hash import NearPairs, all_near, indexed_near
from bench.data.duplicates.search import find_duplicates
from bench.data.images import find_images, loader
from bench.data.open import open_dataset
from benchmarks.machine import described, peak_mib

FACTORS, PULL, LEAN, NOISE_VIEWS = 24, 1.1, 0.3, 8
SMALL, MILLION = 10_015, 1_000_000
AT_ONCE = 10_000


def synthetic(count: int, copies: int, rng: np.random.Generator) -> np.ndarray:
    """Hashes (count, 8, 4) uint64; the last `copies` are of the first ones, some bits off."""
    out = np.empty((count, NOISE_VIEWS, 4), np.uint64)
    loadings = (rng.normal(size=(FACTORS, 256)) * PULL / np.sqrt(FACTORS)).astype(np.float32)
    lean = rng.normal(size=256).astype(np.float32) * LEAN
    for start in range(0, count, AT_ONCE):
        rows = min(AT_ONCE, count - start)
        for view in range(NOISE_VIEWS):
            common = rng.standard_normal((rows, FACTORS), np.float32) @ loadings
            bits = common + lean + rng.standard_normal((rows, 256), np.float32) > 0
            packed = np.packbits(bits, axis=-1).view(np.uint64)
            out[start : start + rows, view] = packed
    for copy in range(copies):
        bits = np.unpackbits(out[copy].view(np.uint8), axis=-1)[rng.permutation(NOISE_VIEWS)]
        bits[:, rng.choice(256, copy % (LIMIT_OF_MANY + 1), replace=False)] ^= 1
        out[count - copies + copy] = np.packbits(bits, axis=-1).view(np.uint64)
    return out


def planted_found(found: NearPairs, count: int, copies: int) -> int:
    """How many of the planted copies are among the pairs."""
    pairs = {tuple(pair) for pair in found.pairs.tolist()}
    return sum((copy, count - copies + copy) in pairs for copy in range(copies))


def line(what: str, wall: float, cpu: float, note: str = "") -> None:
    print(f"{what:<52}{wall:>10.1f}{cpu:>10.1f}  {note}", flush=True)


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def hashes_alone(sizes: list[int], copies: int) -> None:
    rng = np.random.default_rng(0)
    for way in (all_near, indexed_near):
        way(synthetic(100, 0, rng), LIMIT_OF_MANY)  # compile
    print(f"{'seconds':<52}{'wall':>10}{'processor':>10}")
    small = synthetic(SMALL, copies, rng)
    slow, wall, cpu = timed(lambda: all_near(small, LIMIT_OF_MANY))
    line(f"all pairs of {SMALL:,} hashes", wall, cpu, "one core")
    _, wide_wall, wide_cpu = timed(lambda: all_near(small, LIMIT))
    line(f"  the same within {LIMIT} bits", wide_wall, wide_cpu)
    fast, *_ = timed(lambda: indexed_near(small, LIMIT_OF_MANY))
    same = (slow.pairs == fast.pairs).all() and (slow.distances == fast.distances).all()
    print(f"  buckets find the same {len(slow.pairs):,} pairs: {bool(same)}")
    scale = (MILLION / SMALL) ** 2
    line(f"all pairs of {MILLION:,} hashes", wall * scale, cpu * scale, "scaled")
    for size in sizes:
        hashes = synthetic(size, copies, rng)
        found, wall, cpu = timed(lambda hashes=hashes: indexed_near(hashes, LIMIT_OF_MANY))
        planted = f"{planted_found(found, size, copies)} of {copies} planted copies found"
        line(f"buckets, {size:,} hashes, within {LIMIT_OF_MANY} bits", wall, cpu, planted)
        del hashes, found


def on_images(folder: Path, *, thorough: bool) -> None:
    source = open_dataset(folder)
    load = loader(find_images(source))
    marks: list[tuple[str, int, float, float]] = []

    def advance(stage: str, done: int, whole: int) -> None:
        if done == whole:
            marks.append((stage, whole, time.perf_counter(), time.process_time()))

    def search() -> Duplicates:
        if thorough:
            return find_duplicates(source.manifest, load, np.random.default_rng(0), advance)
        return find_near_duplicates(source.manifest, load, advance)

    before = time.perf_counter(), time.process_time()
    found, wall, cpu = timed(search)
    print(f"{source.manifest.title}: {len(source.manifest):,} images\n{found.method}\n")
    print(f"{'seconds':<52}{'wall':>10}{'processor':>10}")
    for stage, count, *at in marks:
        line(f"{stage}: {count:,}", at[0] - before[0], at[1] - before[1])
        before = at[0], at[1]
    line("together", wall, cpu)
    sure = len(found.sure)
    print(
        f"\n{found.candidates:,} candidates across groups, {len(found.pairs)} kept, {sure} of them "
        f"sure; {found.within:,} near pairs within groups"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="folder of a dataset")
    parser.add_argument("--thorough", action="store_true", help="with --data: registration, too")
    parser.add_argument("--sizes", default="50000,200000", help="how many hashes in buckets")
    parser.add_argument("--copies", type=int, default=1000, help="how many are planted")
    options = parser.parse_args()
    used = "of which all are used but where one is named"
    packages = ("numpy", "numba", "opencv-python-headless", "pillow")
    print(__doc__.split("\n\n")[0], described(*packages, used=used), "", sep="\n\n", end="")
    if options.data:
        on_images(options.data, thorough=options.thorough)
    else:
        hashes_alone([int(size) for size in options.sizes.split(",")], options.copies)
    print(f"\npeak memory of the process: {peak_mib():,.0f} MiB")


if __name__ == "__main__":
    main()
