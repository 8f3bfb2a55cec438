"""replace_folder keeps the complete old or new content after any interruption."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import io
from bench.errors import ResultsError
from bench.io import files_in, recover_folder, replace_folder

OLD = {"index.html": b"old", "a/b.csv": b"same", "gone.txt": b"gone"}
NEW = {"index.html": b"new", "a/b.csv": b"same", "c/d.json": b"{}"}


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def beside(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()} - {folder.name}


def test_what_changed_is_changed_and_the_rest_stays_the_very_same_file(tmp_path):
    folder = tmp_path / "site"
    replace_folder(folder, OLD)
    kept = (folder / "a" / "b.csv").stat()
    changes = replace_folder(folder, NEW)
    assert content(folder) == NEW
    assert (changes.new, changes.changed, changes.removed, changes.same) == (1, 1, 1, 1)
    after = (folder / "a" / "b.csv").stat()
    assert (after.st_ino, after.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)
    assert beside(folder) == set()


def test_an_empty_folder_is_taken_and_a_missing_parent_made(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "deep" / "er"):
        replace_folder(folder, NEW)
        assert content(folder) == NEW


def test_files_are_copied_never_linked_to_their_source(tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(b"one")
    replace_folder(tmp_path / "site", {"x.bin": source})
    source.write_bytes(b"two")
    assert content(tmp_path / "site") == {"x.bin": b"one"}


def test_after_an_interruption_anywhere_the_old_or_the_new_is_there(tmp_path, monkeypatch):
    """Interrupts before each call that changes the disk, one after the other."""
    names = ("rename", "mkdir", "open", "read_bytes")

    class Cut(BaseException):
        pass

    def run(limit: int) -> bool:
        folder = tmp_path / f"site{limit}"
        replace_folder(folder, OLD)
        left = limit

        def counted(call):
            def cut(*args, **kwargs):
                nonlocal left
                left -= 1
                if left < 0:
                    raise Cut
                return call(*args, **kwargs)

            return cut

        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(Path, name, counted(getattr(Path, name)))
            patch.setattr(os, "fsync", counted(os.fsync))
            patch.setattr(os, "link", counted(os.link))
            # a killed process does not clean up
            patch.setattr(io.shutil, "rmtree", lambda *_, **__: None)
            try:
                replace_folder(folder, NEW)
            except Cut:
                done = False
            else:
                done = True
        recover_folder(folder)
        assert content(folder) in (OLD, NEW)
        replace_folder(folder, NEW)
        assert content(folder) == NEW
        assert not [name for name in beside(folder) if name.startswith(f".{folder.name}.")]
        return done

    limit = 0
    while not run(limit):
        limit += 1
    assert limit > 8


def test_a_second_publisher_is_refused(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    with (
        io.FileLock(tmp_path / ".site.lock"),
        pytest.raises(ResultsError, match="another process"),
    ):
        replace_folder(folder, NEW)
    assert files_in(folder) == []
