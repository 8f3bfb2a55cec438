"""Pipes, sockets and devices among the data: named in a line, never opened."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.data.audit import audit
from bench.data.images import find_images
from bench.data.open import DatasetSpec, open_dataset
from bench.errors import DataError
from bench.io import read_file
from bench.protocol import load_protocol
from tests.cli.test_bad_input import bench, refused
from tests.data.audit.test_audit import found, put, row

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    """Whoever opens a pipe after all is woken and fails."""
    import signal

    def fail(*_: object) -> None:
        raise AssertionError("waits for a pipe")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def test_a_file_is_read_and_nothing_else_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert read_file(tmp_path / "file") == b"x"
    with pytest.raises(OSError, match="is a named pipe, not a file"):
        read_file(pipe(tmp_path / "pipe"))
    with pytest.raises(OSError, match="is a device, not a file"):
        read_file(Path(os.devnull))
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind(str(tmp_path / "ear"))
        with pytest.raises(OSError, match="is a socket, not a file"):
            read_file(tmp_path / "ear")


def test_a_pipe_for_an_image_is_a_finding_of_the_audit_and_refused_by_the_rest(tmp_path):
    put(tmp_path, [row(n) for n in range(4)])
    pipe(tmp_path / "I2.png")
    pipe(tmp_path / "stranger.png")
    done, kinds = found(tmp_path)
    assert done.failed
    assert kinds["no file"] == [f"I2 {tmp_path / 'I2.png'} is a named pipe"]
    assert "missing" not in kinds
    assert "stranger.png" in kinds["unwanted"][0]
    with pytest.raises(DataError, match=r"not image files: .*I2\.png is a named pipe; remove"):
        find_images(open_dataset(tmp_path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HAM10000_metadata.csv", r"HAM10000_metadata\.csv: is a named pipe, not a file"),
        ("manifest.csv", r"no metadata found.*\(not opened: .*manifest\.csv is a named pipe\)"),
        ("pixels.npz", "no metadata found"),
    ],
)
def test_a_pipe_for_metadata_is_refused(tmp_path, name, said):
    pipe(tmp_path / name)
    with pytest.raises(DataError, match=said):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match=said):
        audit(DatasetSpec(tmp_path))


def test_a_pipe_for_the_dataset_itself_or_its_groups_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a named pipe; give the folder that contains it"):
        open_dataset(pipe(tmp_path / "pipe"))
    (tmp_path / "d").mkdir()
    put(tmp_path / "d", [row(0), row(1)])
    with pytest.raises(DataError, match="pipe: is a named pipe"):
        DatasetSpec(tmp_path / "d", groups=tmp_path / "pipe").open()


def test_a_pipe_for_a_protocol_or_a_picture_is_refused(tmp_path):
    from bench.errors import ProtocolError

    pipe(tmp_path / "p.toml")
    with pytest.raises(ProtocolError, match=r"p\.toml: is a named pipe"):
        load_protocol("p", tmp_path)
    shown = bench("data", "preprocess", pipe(tmp_path / "a.png"), "--to", "out", cwd=tmp_path)
    refused(shown, "a.png: is a named pipe")


def test_a_run_does_not_wait_for_a_pipe(tmp_path):
    put(tmp_path, [row(n) for n in range(4)])
    pipe(tmp_path / "I1.png")
    try:
        done = bench("data", "duplicates", "--data", ".", cwd=tmp_path)
    except subprocess.TimeoutExpired:
        pytest.fail("waits for a pipe")
    refused(done, "I1.png is a named pipe")
