"""Everything that reads a file which somebody hands over: bytes in, a value or a BenchError out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from bench.data.grouping import read_grouping
from bench.job import parse_job_file, parse_record
from bench.protocol import PARTS, Roles, parse_protocol, parse_roles
from bench.recipe import Recipe, parse_overrides
from bench.run.joblist import listed_job
from bench.run.results import read_parquet
from bench.run.submissions import Wanted, read_submission

CLASSES = ("mel", "nv")
IDS = np.array(["a", "b", "c", "d"], dtype=object)
ROLES = Roles(
    "roster", IDS, IDS,
    np.array([[PARTS.index(part)] for part in ("train", "val", "test", "test")], dtype=np.uint8),
)  # fmt: skip
WANTED = Wanted(ROLES, CLASSES, folds=1, seed=0)


SOUND_TOML = (
    'name = "p"\ntitle = "P"\n[split]\nkind = "groupkfold"\nfolds = 2\nseed = 1\nval = 0.1\n'
)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _as_file(read: Callable[[Path], object], suffix: str) -> Callable[[bytes], object]:
    def parse(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"handed-over{suffix}"
            path.write_bytes(content)
            return read(path)

    return parse


def _set(content: bytes) -> Recipe:
    return Recipe().with_overrides(parse_overrides(_text(content).split("\n")))


PARSERS: dict[str, Callable[[bytes], object]] = {
    "protocol": lambda content: parse_protocol(_text(content), "p.toml"),
    "roles": lambda content: parse_roles(_text(content), "r.csv"),
    "record": lambda content: parse_record(_text(content), "record.json"),
    "job": lambda content: parse_job_file(_text(content), "job.json"),
    "predictions": lambda content: read_parquet(content, "predictions.parquet"),
    "submission": _as_file(lambda path: read_submission(path, WANTED), ".csv"),
    "groups": _as_file(read_grouping, ".csv"),
    "job list": _as_file(lambda path: listed_job(path, 0), ".jobs"),
    "settings": _set,
}


def seeds() -> dict[str, list[bytes]]:
    """A sound file of each kind where one is short enough, to be changed here and there."""
    root = Path(__file__).resolve().parents[2]
    toml = (root / "protocols" / "groupkfold5.toml").read_bytes()
    records = sorted((root / "baselines" / "results").glob("**/record.json"))[:1]
    submission = b"image_id,p_mel,p_nv\nc,0.2,0.8\nd,1,0\n"
    return {
        "protocol": [toml],
        "roles": [b"# roster_sha256=ab\nimage_id,group_id,fold0\na,g,train\nb,h,test\n"],
        "record": [path.read_bytes() for path in records],
        "job": [json.dumps({"id": "x", "command": "", "job": {}, "place": {}}).encode()],
        "predictions": [pd.DataFrame({"image_id": ["c", "d"], "p_mel": [0.2, 1.0]}).to_parquet()],
        "submission": [submission, submission.replace(b"image_id,p_mel,p_nv", b"image,MEL,NV")],
        "groups": [b"image_id,patient_id\na,p\nb,q\n"],
        "job list": [b'{"id": "x", "folder": "/nowhere"}\n'],
        "settings": [b"epochs=3\nlr=1e-3", b"model=resnet18\nloss=focal"],
    }
