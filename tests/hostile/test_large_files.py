"""Files that are too large to be read are named, and not read; here they are all holes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.audit import audit
from bench.data.image_checks import check_image
from bench.data.images import MAX_BYTES, MAX_PIXELS, loader
from bench.data.open import DatasetSpec
from bench.errors import DataError
from bench.io import MOST_BYTES
from tests.data.audit.test_audit import put, row


def grown(path: Path, size: int) -> Path:
    with path.open("ab") as stream:
        stream.truncate(size + 1)
    return path


def test_metadata_of_too_many_bytes_is_refused(tmp_path):
    put(tmp_path, [row(n) for n in range(3)])
    grown(tmp_path / "HAM10000_metadata.csv", MOST_BYTES)
    with pytest.raises(DataError, match="is larger than 4096 MiB"):
        DatasetSpec(tmp_path).open(images=False)


def test_an_image_of_too_many_bytes_is_refused_and_a_finding_of_the_audit(tmp_path):
    put(tmp_path, [row(n) for n in range(3)])
    path = grown(tmp_path / "I1.png", MAX_BYTES)
    with pytest.raises(DataError, match=r"I1.png: is larger than 512 MiB"):
        loader({"I1": path})("I1")
    assert not check_image("I1", path).readable
    again = tmp_path / "again"
    again.mkdir()
    (again / "I1.png").write_bytes(b"")
    kinds = {finding.kind: finding.count for finding in audit(DatasetSpec(tmp_path)).findings}
    assert (kinds["unreadable"], kinds["two files"]) == (1, 1)


def test_the_limit_lets_every_image_through_that_has_few_enough_pixels():
    assert MAX_BYTES > 4 * MAX_PIXELS
