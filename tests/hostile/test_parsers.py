"""Property: whatever a file holds that somebody hands over, it is read or refused in one line."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from tests.hostile.parsers import PARSERS, seeds

# Pillow warns of metadata that it cannot read, and reads the image
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SEEDS = seeds()
LINES = st.text(
    alphabet=st.sampled_from('[]{}"=,.\n\t -+@#\\/\0:truefalsnk0123456789_é\u202e'), max_size=200
)


@st.composite
def changed(draw: st.DrawFn, sound: bytes) -> bytes:
    """A sound file with pieces cut out, doubled, moved or overwritten."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        piece = draw(st.one_of(st.binary(max_size=20), st.just(bytes(content[start:end]) * 2)))
        content[start:end] = piece
    return bytes(content)


def refuse_or_read(kind: str, content: bytes) -> None:
    with suppress(BenchError):  # any other error fails the test
        PARSERS[kind](content)


@pytest.mark.parametrize("kind", sorted(PARSERS))
def test_what_is_changed_here_and_there_is_sound_itself(kind):
    for sound in SEEDS[kind]:
        PARSERS[kind](sound)


@pytest.mark.parametrize("kind", sorted(PARSERS))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_content_is_read_or_refused(kind, data):
    kinds = [st.binary(max_size=300), LINES.map(str.encode)]
    kinds += [changed(sound) for sound in SEEDS[kind]]
    refuse_or_read(kind, data.draw(st.one_of(kinds)))


@pytest.mark.parametrize("kind", sorted(PARSERS))
@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 100, b"\xff\xfe" * 50, b"x=" + b"[" * 20_000, b"[" * 20_000, b"{" * 20_000,
        b'{"a":' * 20_000, b"x=" + b"{x=" * 20_000, b'"' * 9999, b"PAR1" + b"\0" * 100 + b"PAR1",
        b"a," * 200_000, b'"' + b"x" * 200_000,
    ],
    ids=lambda content: f"{content[:6]!r}x{len(content)}",
)  # fmt: skip
def test_deep_wide_and_empty_files_are_refused(kind, content):
    if kind != "settings":
        with pytest.raises(BenchError):
            PARSERS[kind](content)
    else:
        refuse_or_read(kind, content)


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def stated(shape: tuple[int, ...]) -> bytes:
    """A .npz whose arrays say that they have a shape, and hold ten bytes."""
    header, stream = io.BytesIO(), io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    with zipfile.ZipFile(stream, "w") as held:
        for name in ("images", "labels"):
            held.writestr(f"{name}.npy", header.getvalue() + bytes(10))
    return stream.getvalue()


PIXELS = np.zeros((2, 3, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(images=np.uint8(3), labels=np.int64(1)), r"images are uint8 of shape \(\)"),
        (npz(images=np.zeros((2, 0, 4, 3), np.uint8), labels=np.arange(2)), "of shape"),
        (npz(images=PIXELS, labels=np.array([0.5, np.nan])), "use whole numbers"),
        (npz(images=PIXELS, labels=np.zeros(2, [("a", "i4")])), "use whole numbers"),
        (npz(images=PIXELS[:0], labels=np.arange(0)), "no rows"),
        (npz(other=PIXELS), "it has other"),
        (stated((10**12, 3, 3, 3)), "cannot be read as .npz"),
        (stated((50, 3, 3, 3)), "cannot be read as .npz"),
    ],
)
def test_arrays_of_no_use_are_refused(content, message):
    with pytest.raises(BenchError, match=message):
        PARSERS["arrays"](content)


def test_arrays_too_large_to_be_unpacked_are_refused(monkeypatch):
    from bench.data.readers import arrays

    monkeypatch.setattr(arrays, "MOST_BYTES", 100)
    with pytest.raises(BenchError, match="unpacked; the limit is"):
        PARSERS["arrays"](npz(images=PIXELS, labels=np.arange(2)))


def parquet(rows: int) -> bytes:
    return pd.DataFrame({"image_id": [f"i{n}" for n in range(rows)], "p_mel": 0.5}).to_parquet()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_parquet_file_is_read_or_refused(data):
    refuse_or_read("predictions", data.draw(changed(parquet(20))))


def test_a_small_parquet_file_of_very_many_rows_is_refused(monkeypatch):
    monkeypatch.setattr("bench.run.results.MOST_CELLS", 39)
    with pytest.raises(BenchError, match="holds more than 39 cells"):
        PARSERS["predictions"](parquet(20))
