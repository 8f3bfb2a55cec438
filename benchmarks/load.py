"""Cost of the bench on large inputs; each part runs the command line like a user.

    python -m benchmarks.load images  --images 400000 --patients 1038   (3 GB of disk)
    python -m benchmarks.load roster  --rows 1000000
    python -m benchmarks.load jobs    --jobs 2000
    python -m benchmarks.load methods --methods 200
    python -m benchmarks.load soak    --jobs 500

Each prints a line per step: wall seconds; CPU seconds of all its processes; peak memory of all of
them together, without mapped files; the machine's load average. Goals: memory under 4 GiB, wall
time of a job without training under 0.5 s, `status` under 2 s. `soak` kills runners, supervisors
and jobs at random, and asserts that nothing is left and every job is done. Output is kept in
`benchmarks/results/load_*.txt`.

Images are random noise of 16 px.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil

from bench.run.supervisor import JOB_MARK, held_bytes, mark_of
from benchmarks import machine

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("benign", "malignant")
TRIVIAL = '''"""trivial: the shares of the training part, for every image."""
import numpy as np
from bench.method import Method, Recipe
from bench.predictions import Predictions

def fit_predict(task):
    shares = np.bincount(task.train.labels, minlength=len(task.classes)) / len(task.train)
    return Predictions(task.test.image_ids, np.tile(shares, (len(task.test), 1)), task.classes)

METHOD = Method("trivial", Recipe(image_size=16, epochs=1), fit_predict)
'''


class Place:
    """A folder with a dataset, protocols, a cache and results."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        (folder / "protocols").mkdir(exist_ok=True)
        shutil.copy(ROOT / "protocols" / "groupkfold5.toml", folder / "protocols")
        (folder / "trivial.py").write_text(TRIVIAL, encoding="utf-8")
        self.environment = os.environ | {
            "BENCH_CACHE": str(folder / "cache"),
            "BENCH_PROTOCOLS": str(folder / "protocols"),
            "HF_HUB_OFFLINE": "1",
        }

    def make_dataset(self, images: int, patients: int, *, files: bool) -> None:
        """Write a manifest, one image in fifty malignant; with `files`, also images of 16 px."""
        self.data.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        ids = np.array([f"IMG_{number:07d}" for number in range(images)])
        malignant = rng.permutation(images) < max(images // 50, 20)
        table = pd.DataFrame(
            {
                "image": ids,
                "label": np.where(malignant, CLASSES[1], CLASSES[0]),
                "group": [f"P{number:06d}" for number in rng.integers(0, patients, images)],
            }
        )
        table.to_csv(self.data / "manifest.csv", index=False)
        self.table = table
        if not files:
            return
        folder = self.data / "images"
        if folder.is_dir():
            return
        half = folder.with_name("images.half")
        half.mkdir()
        for image_id in ids:
            picture = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            cv2.imwrite(str(half / f"{image_id}.png"), picture)
        half.rename(folder)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the bench with these arguments; its output goes to bench.log."""
        with (self.folder / "bench.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "bench.py"), *words],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def step(self, name: str, *words: str, codes: tuple[int, ...] = (0,)) -> tuple[float, float]:
        """Run the bench to its end and print its cost; returns wall and CPU seconds."""
        begun, before, peak = time.monotonic(), processor_seconds(), 0
        process = self.start(*words)
        while process.poll() is None:
            peak = max(peak, held_bytes(family(process.pid)))
            time.sleep(0.2)
        seconds, spent = time.monotonic() - begun, processor_seconds() - before
        print(
            f"{name:<28}{seconds:>9.1f} s{spent:>9.1f} s{peak / 2**20:>9.0f} MiB"
            f"{os.getloadavg()[0]:>7.1f}",
            flush=True,
        )
        if process.returncode not in codes:
            tail = (self.folder / "bench.log").read_text(encoding="utf-8")[-2000:]
            sys.exit(f"{name}: exit {process.returncode}\n{tail}")
        return seconds, spent

    @property
    def source(self) -> tuple[str, ...]:
        """The arguments of the dataset."""
        return ("--data", str(self.data), "--dataset-name", "load")

    def freeze(self, *more: str) -> None:
        """Freeze roles for the dataset as protocol `load`."""
        words = ("protocol", "freeze", "groupkfold5", "--as", "load", *self.source)
        self.step("protocol freeze", *words, *more)

    def run_trivial(self, jobs: int) -> tuple[str, ...]:
        """The arguments of a run of trivial jobs, five per seed."""
        seeds = ",".join(map(str, range(max(1, jobs // 5))))
        return (
            "run",
            "--protocol",
            "load",
            *self.source,
            "--method",
            "trivial.py",
            "--seeds",
            seeds,
        )


def processor_seconds() -> float:
    """CPU seconds of all ended child processes and their descendants."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants; empty if it has ended."""
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def images(place: Place, asked: argparse.Namespace) -> None:
    """The shape of ISIC 2024: from the source to the leaderboard, one epoch of the custom CNN."""
    place.make_dataset(asked.images, asked.patients, files=True)
    place.step("data info", "data", "info", *place.source)
    audit = ("data", "audit", *place.source, "--no-near", "--to", "audit")
    place.step("data audit", *audit, codes=(0, 1))
    place.freeze()
    words = ("--protocol", "load", *place.source, "--method", "custom_cnn", "--image-size", "16")
    fold = (*words, "--folds", "0", "--set", "epochs=1")
    place.step("store, plan", "plan", *fold)
    place.step("one fold, one epoch, score", "run", *fold)
    place.step("report", "report", "--protocol", "load", *place.source)
    place.step("verify-results", "verify-results")


def roster(place: Place, asked: argparse.Namespace) -> None:
    """Rows through manifest, roles, proof, submission and score; no image is there."""
    place.make_dataset(asked.rows, asked.rows // 3, files=False)
    place.step("data info", "data", "info", *place.source)
    place.freeze("--dealer", "greedy")
    place.step("protocol verify", "protocol", "verify", "load", *place.source)
    submit(place, "guess", 0)
    place.step("report", "report", "--protocol", "load", *place.source)


def guesses(place: Place, seed: int) -> bytes:
    """Random predictions as Parquet."""
    odds = np.random.default_rng(seed).random(len(place.table)).astype(np.float32)
    return pd.DataFrame(
        {"image_id": place.table["image"], "p_benign": 1 - odds, "p_malignant": odds}
    ).to_parquet()


def submit(place: Place, name: str, seed: int) -> None:
    """Submit random predictions."""
    file = place.folder / f"{name}.parquet"
    file.write_bytes(guesses(place, seed))
    words = ("submit", str(file), "--name", name, "--protocol", "load", *place.source)
    place.step(f"submit {name}", *words, "--pretraining-data", "none")


def keep_like_m000(place: Place, name: str, seed: int) -> None:
    """Write the files of `submit` without rendering the leaderboard."""
    board = place.folder / "results" / "load" / "load"
    content = guesses(place, seed)
    stated = json.loads((board / "m000" / "submission.json").read_text(encoding="utf-8"))
    stated |= {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
    (board / name).mkdir()
    (board / name / stated["file"]).write_bytes(content)
    (board / name / "submission.json").write_text(json.dumps(stated), encoding="utf-8")


def jobs(place: Place, asked: argparse.Namespace) -> None:
    """Jobs of a trivial method: measures the overhead of the bench."""
    place.make_dataset(500, 100, files=True)
    place.freeze()
    run = place.run_trivial(asked.jobs)
    place.step("plan, nothing done", *run, "--dry-run")
    done = place.step(f"run of {asked.jobs} jobs, score", *run)
    again = place.step("run again, all done", *run)
    wall, processor = ((one - two) / asked.jobs for one, two in zip(done, again, strict=True))
    print(f"per job: {wall:.3f} s wall ({os.cpu_count()} at the same time), {processor:.3f} s CPU")
    place.step("status", "status")
    place.step("verify-results", "verify-results")


def methods(place: Place, asked: argparse.Namespace) -> None:
    """A leaderboard of many rows."""
    place.make_dataset(2000, 400, files=False)
    place.freeze()
    submit(place, "m000", 0)
    for number in range(1, asked.methods):
        keep_like_m000(place, f"m{number:03d}", number)
    place.step(f"report of {asked.methods} rows", "report", "--protocol", "load", *place.source)
    page = place.folder / "results" / "load" / "load" / "leaderboard" / "index.html"
    print(f"page: {page.stat().st_size / 2**20:.1f} MiB")


def soak(place: Place, asked: argparse.Namespace) -> None:
    """Kill a process after every few jobs until all are done; then nothing may be left."""
    place.make_dataset(500, 100, files=True)
    place.freeze()
    draw = random.Random(0)  # noqa: S311 - not for secrets
    run = place.run_trivial(asked.jobs)
    results, kills = place.folder / "results", {"runner": 0, "below": 0}
    peaks: list[int] = []
    handles: list[int] = []
    begun = time.monotonic()
    while (done := finished(results)) < asked.jobs:
        runner = place.start(*run)
        until = min(asked.jobs, done + draw.randint(10, 60))
        while runner.poll() is None and finished(results) < until:
            wait_for_jobs(results, draw.randint(0, 8), runner)
            time.sleep(draw.uniform(0, 1))
            peaks.append(held_bytes(family(runner.pid)))
            handles.append(open_files(runner))
            kills["below"] += kill_one_of(draw, runner)
            if time.monotonic() - begun > asked.jobs * 30:
                sys.exit("the soak did not end in time")
        if runner.poll() is None:
            runner.kill()
            kills["runner"] += 1
        runner.wait()
    place.step("run, to the end", *run)
    time.sleep(1)  # the supervisors of the last killed runner end
    orphans = [each.pid for each in processes_of(results)]
    partial = len(scratch_of(results))
    for scratch in scratch_of(results):  # the next run removes what is older than a day
        os.utime(scratch, (time.time() - 2 * 24 * 3600,) * 2)
    place.step("run, the day after", *run)
    left = scratch_of(results)
    print(f"killed: {kills['runner']} runners and {kills['below']} of their processes")
    megabytes = [peak >> 20 for peak in peaks]
    for what, values in (("MiB of memory", megabytes), ("open files of a runner", handles)):
        middle = len(values) // 2
        print(f"most {what}: first half {max(values[:middle])}, then {max(values[middle:])}")
    print(f"left behind: {len(orphans)} processes, {partial} partial files", end="")
    print(f", {len(left)} of them after a run one day later")
    if orphans or left:
        sys.exit("the soak left something behind")
    place.step("verify-results", "verify-results")


def open_files(runner: subprocess.Popen[bytes]) -> int:
    """Number of open files and pipes of a runner; 0 if it has ended."""
    try:
        return psutil.Process(runner.pid).num_fds()
    except psutil.NoSuchProcess:
        return 0


def scratch_of(results: Path) -> list[Path]:
    """Partial files of killed processes."""
    return [path for path in results.glob("**/.*.tmp") if path.name != ".tmp"]


def finished(results: Path) -> int:
    """Number of finished jobs."""
    return len(list(results.glob("**/record.json")))


def wait_for_jobs(results: Path, more: int, runner: subprocess.Popen[bytes]) -> None:
    """Wait until `more` jobs are done and a process is running, or the runner has ended."""
    until = finished(results) + more
    while runner.poll() is None and (finished(results) < until or not family(runner.pid)[1:]):
        time.sleep(0.2)


def kill_one_of(draw: random.Random, runner: subprocess.Popen[bytes]) -> int:
    """Kill -9 a random descendant of a runner; returns the number of killed processes."""
    try:
        below = psutil.Process(runner.pid).children(recursive=True)
        if not below:
            return 0
        draw.choice(below).kill()
    except psutil.NoSuchProcess:
        return 0
    return 1


def processes_of(results: Path) -> list[psutil.Process]:
    """Running processes of the jobs of a results folder."""
    marks = {mark_of(path.parent) for path in results.glob("**/job.json")}
    running = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(JOB_MARK) in marks:
                running.append(process)
        except (psutil.Error, OSError):
            continue
    return running


PARTS: dict[str, Callable[[Place, argparse.Namespace], None]] = {
    "images": images,
    "roster": roster,
    "jobs": jobs,
    "methods": methods,
    "soak": soak,
}


def main() -> None:
    """Run one part in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    for name, default in (("images", 400_000), ("patients", 1038), ("rows", 1_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--jobs", type=int, help="2000, of the soak 500")
    parser.add_argument("--methods", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="work here, and keep it and its dataset")
    asked = parser.parse_args()
    asked.jobs = asked.jobs or (500 if asked.part == "soak" else 2000)
    print(f"$ python -m benchmarks.load {' '.join(sys.argv[1:])}")
    print(machine.described("torch", "numpy", "pandas", used="of which all are used"))
    print(f"{'':<28}{'wall':>11}{'processor':>11}{'memory':>13}{'load':>7}", flush=True)
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
        PARTS[asked.part](Place(asked.folder.resolve()), asked)
        return
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        PARTS[asked.part](Place(Path(folder)), asked)


if __name__ == "__main__":
    main()
