"""Everything that reads a file which somebody hands over: bytes in, a value or a BenchError out."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.numpy import save

from bench.data.image_checks import check_image
from bench.data.images import loader
from bench.data.open import DatasetSpec, read_grouping
from bench.data.preprocess import preprocessing, recorded
from bench.job import Job, JobFile, JobLocation, to_json
from bench.protocol import PARTS, Roles, load_protocol, load_roles, parse_protocol
from bench.recipe import Recipe, parse_overrides
from bench.run.results import open_job, open_record, read_parquet
from bench.run.slurm import listed_job
from bench.run.submissions import SubmissionSpec, read_submission
from bench.train.checkpoint import read_metadata

CLASSES = ("mel", "nv")
IDS = np.array(["a", "b", "c", "d"], dtype=object)
ROLES = Roles(
    "roster", IDS, IDS,
    np.array([[PARTS.index(part)] for part in ("train", "val", "test", "test")], dtype=np.uint8),
)  # fmt: skip
WANTED = SubmissionSpec(ROLES, CLASSES, folds=1, seed=0)


SOUND_TOML = (
    'name = "p"\ntitle = "P"\n[split]\nkind = "groupkfold"\nfolds = 2\nseed = 1\nval = 0.1\n'
)
FROZEN = "groupkfold5"
METADATA = (
    b"lesion_id,image_id,dx,dx_type,age,sex,localization\n"
    b"L0,I0,nv,histo,50,male,back\nL1,I1,mel,histo,,unknown,foot\n"
)


def _as_file(read: Callable[[Path], object], suffix: str) -> Callable[[bytes], object]:
    def parse(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"handed-over{suffix}"
            path.write_bytes(content)
            return read(path)

    return parse


def _as_record(content: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "record.json").write_bytes(content)
        return open_record(Path(folder))


def _as_protocol(content: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{FROZEN}.toml").write_bytes(content)
        return load_protocol(FROZEN, Path(folder))


def _as_roles(content: bytes) -> object:
    """Opens a roles file that its protocol vouches for, whatever it holds."""
    text = f'{SOUND_TOML}[roles.d]\nfile = "d.csv"\nsha256 = "{sha256(content).hexdigest()}"\n'
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "d.csv").write_bytes(content)
        return load_roles(parse_protocol(text, "p.toml"), "d", Path(folder))


def _as_job_list(content: bytes) -> object:
    """Opens the first job of a list; `HERE` in it is a folder whose job.json is the other lines."""
    listed, _, job = content.partition(b"\n")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "run.jobs").write_bytes(listed.replace(b"HERE", folder.encode()))
        Path(folder, "job.json").write_bytes(job)
        return listed_job(Path(folder, "run.jobs"), 0)


def _as_dataset(name: str) -> Callable[[bytes], object]:
    """Opens a folder that holds the content as a file of that name."""

    def parse(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_bytes(content)
            return DatasetSpec(Path(folder), "d").open(images=False)

    return parse


def _picture(path: Path) -> object:
    check_image("a", path)  # nothing that is wrong stops it
    return loader({"a": path})("a")


def _set(content: bytes) -> Recipe:
    """Reads settings of a command line, which may be no UTF-8 either."""
    return Recipe().with_overrides(parse_overrides(os.fsdecode(content).split("\n")))


PARSERS: dict[str, Callable[[bytes], object]] = {
    "protocol": _as_protocol,
    "roles": _as_roles,
    "record": _as_record,
    "job": _as_file(open_job, ".json"),
    "predictions": lambda content: read_parquet(content, "predictions.parquet"),
    "submission": _as_file(lambda path: read_submission(path, WANTED), ".csv"),
    "groups": _as_file(read_grouping, ".csv"),
    "job list": _as_job_list,
    "settings": _set,
    "metadata": _as_dataset("HAM10000_metadata.csv"),
    "manifest": _as_dataset("manifest.csv"),
    "arrays": _as_dataset("d.npz"),
    "picture": _as_file(_picture, ".png"),
    "checkpoint": _as_file(read_metadata, ".safetensors"),
}


def sound_job() -> JobFile:
    """A job that says something of everything."""
    job = Job(
        protocol="p", dataset="d", row="m@1", method="m", variant={"epochs": 3},
        recipe=Recipe(epochs=3, loss="focal"), method_source="aa", roles_sha256="bb",
        classes=CLASSES, roster_sha256="cc", pixels_sha256="dd", weights_sha256="ee", seed=1,
        repeat=0, fold=1, column=3, twin=1, threads=2, devices=2,
    )  # fmt: skip
    place = JobLocation(
        method_file="m.py", store="s", fold_table="t.csv", weights="w", folder="HERE", device="cpu",
        timeout_seconds=9, memory_gib=0.5, disk_gib=2, unlabelled="u",
    )  # fmt: skip
    return JobFile(id=job.id, command="python bench.py run", job=job, place=place)


def _pictures() -> list[bytes]:
    """The same small picture in the ways that files come: grey, with transparency, turned."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    found = []
    for shown, kind, more in (
        (pixels[..., :3], "PNG", {}), (pixels, "PNG", {}), (pixels[..., 0], "PNG", {}),
        (pixels[..., :3], "JPEG", {"exif": turned}),
        (pixels[..., :3], "JPEG", {"progressive": True}),
    ):  # fmt: skip
        stream = io.BytesIO()
        Image.fromarray(shown).save(stream, kind, **more)
        found.append(stream.getvalue())
    return found


def _arrays() -> bytes:
    stream = io.BytesIO()
    pixels = np.zeros((3, 2, 2, 3), np.uint8)
    np.savez_compressed(stream, images=pixels, labels=np.array([[0], [1], [1]]))
    return stream.getvalue()


def checkpoint(**changed: object) -> bytes:
    """A best file of no weights, its header changed; None takes a name out."""
    recipe = Recipe(image_size=16)
    stored = {
        "classes": CLASSES, "recipe": recipe.model_dump(), "mean": [0.5] * 3, "std": [0.2] * 3,
        "chain": recorded(preprocessing(recipe)), "temperature": 1.5, "epoch": 1,
        "looks": {"mean": [0.0] * 7, "precision": [[0.0] * 7] * 7, "limit": 3.0},
        "trained_on": {"dataset": "d", "seed": 0, "column": 0, "images": 3},
    } | changed  # fmt: skip
    stated = {name: json.dumps(value) for name, value in stored.items() if value is not None}
    return save({"x": np.zeros(1, np.float32)}, stated)


def seeds() -> dict[str, list[bytes]]:
    """A sound file of each kind where one is short enough, to be changed here and there."""
    root = Path(__file__).resolve().parents[2]
    toml = (root / "protocols" / f"{FROZEN}.toml").read_bytes()
    records = sorted((root / "baselines" / "results").glob("**/record.json"))[:1]
    job = to_json(sound_job()).encode()
    submission = b"image_id,p_mel,p_nv\nc,0.2,0.8\nd,1,0\n"
    return {
        "protocol": [toml],
        "roles": [b"# roster_sha256=ab\nimage_id,group_id,fold0\na,g,train\nb,h,test\n"],
        "record": [path.read_bytes() for path in records],
        "job": [job],
        "predictions": [pd.DataFrame({"image_id": ["c", "d"], "p_mel": [0.2, 1.0]}).to_parquet()],
        "submission": [submission, submission.replace(b"image_id,p_mel,p_nv", b"image,MEL,NV")],
        "groups": [b"image_id,patient_id\na,p\nb,q\n"],
        "job list": [json.dumps({"id": sound_job().id, "folder": "HERE"}).encode() + b"\n" + job],
        "metadata": [METADATA],
        "manifest": [b"image,label,group\na,x,p\nb,y,q\n", b'image;label;patient\n"a";x;p\n'],
        "arrays": [_arrays()],
        "picture": _pictures(),
        "checkpoint": [checkpoint()],
        "settings": [b"epochs=3\nlr=1e-3", b"model=resnet18\nloss=focal"],
    }
