"""What users get wrong: exit 2, one clear line or list, nothing half-written, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.errors import BenchError
from bench.workflows.protocols import read_pairs
from tests.conftest import ROOT

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"
ROWS = [
    f"HAM_{n // 2:04d},ISIC_{n:04d},{('nv', 'mel', 'bkl')[n // 2 % 3]},histo,50,male,back,rosendahl"
    for n in range(24)
]


def bench(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "bench.py"), *map(str, words)],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder in HAM10000's layout."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    write_metadata(data, ROWS)
    for n in range(24):
        image = np.full((15, 20, 3), 10 * n, np.uint8)
        cv2.imwrite(str(data / "images" / f"ISIC_{n:04d}.jpg"), image)
    return data


def write_metadata(data: Path, rows: list[str], header: str = HEADER) -> None:
    (data / "HAM10000_metadata.csv").write_text("\n".join([header, *rows]) + "\n")


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr


def test_gradcam_without_jobs_or_with_an_unknown_row_says_so(tmp_path):
    asked = ("gradcam", "--protocol", "groupkfold5", "--results", "nowhere")
    refused(bench(*asked, cwd=tmp_path), "nowhere: no finished job of groupkfold5 on synthetic")
    refused(bench(*asked, "--row", "mine", cwd=tmp_path), "--row mine: not in nowhere")


def test_help_is_instant_and_names_every_verb(tmp_path):
    done = bench("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(
        verb in done.stdout for verb in ("run", "report", "protocol", "data", "method", "job")
    )
    # instant means that nothing heavy is imported
    code = "import bench.cli.main, sys; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--protocol", "groupkfold6"], ["unknown protocol 'groupkfold6'", "groupkfold5"]),
        (["run", "--protocol", "groupkfold5", "--method", "resnet19"], ["resnet19", "resnet18"]),
        (["run", "--protocol", "groupkfold5", "--data", "nowhere"], ["nowhere"]),
        (["run", "--protocol", "groupkfold5", "--folds", "7"], ["--folds 7", "folds 0 to 4"]),
        (["run", "--protocol", "groupkfold5", "--folds", "x"], ["whole numbers"]),
        (["run", "--protocol", "groupkfold5", "--seeds", "-1"], ["whole numbers from 0"]),
        (["run", "--protocol", "groupkfold5", "--set", "epoch=3"], ["'epoch'", "epochs"]),
        (["run", "--protocol", "groupkfold5", "--set", "epochs"], ["key=value"]),
        (
            ["run", "--protocol", "groupkfold5", "--set", "ema_warmup=false"],
            ["ema_warmup=false: no effect in custom_cnn", "omit it"],
        ),
        (["run"], ["--protocol"]),
        (["report", "--protocol", "none"], ["unknown protocol"]),
        (["job", "nothing.json"], ["nothing.json"]),
        (["dance"], ["dance"]),
        (["data", "eda", "--to", "eda.json"], ["--to eda.json", ".html"]),
        (["data", "info", "--layout", "x"], ["--layout x: unknown; known are ham10000, isic2018"]),
        (["data", "info", "--data", "."], ["no metadata found", "manifest.csv (image, label"]),
    ],
)
def test_wrong_words_are_named_with_the_cure(tmp_path, words, said):
    refused(bench(*words, cwd=tmp_path), *said)
    assert not (tmp_path / "results" / "groupkfold5").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Missing option '--protocol' / '-p'; see: python bench.py run --help"),
        (["run", "-p"], "Option '-p' requires an argument; see: python bench.py run --help"),
        (["dance"], "No such command 'dance'; see: python bench.py --help"),
        (["data", "dance"], "No such command 'dance'; see: python bench.py data --help"),
        (["run", "--jobs", "0"], "'--jobs': 0 is not in the range x>=1; see: python bench.py run"),
        (["submit", "no.csv"], "'no.csv' does not exist; see: python bench.py submit --help"),
        (["data", "eda", "--to", "a\x1b\nb"], "--to a\ufffd b: give a name that ends in .html"),
    ],
)
def test_what_click_refuses_is_told_in_one_line_with_where_help_is(tmp_path, words, said):
    done = bench(*words, cwd=tmp_path)
    refused(done, said)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")


def test_a_group_without_a_verb_shows_its_help(tmp_path):
    for words in ((), ("data",)):
        assert "Commands:" in bench(*words, cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        (ROWS, HEADER.replace("lesion_id", "lesion"), ["lesion_id"]),
        ([ROWS[0].replace("nv", "naevus"), *ROWS[1:]], HEADER, ["naevus", "ISIC_0000", "akiec"]),
        ([*ROWS, ROWS[3]], HEADER, ["ISIC_0003"]),
        ([ROWS[0].replace(",nv,", ",mel,"), *ROWS[1:]], HEADER, ["two diagnoses", "HAM_0000"]),
    ],
)
def test_broken_metadata_is_named(folder, tmp_path, rows, header, said):
    write_metadata(folder, rows, header)
    refused(bench("run", "--protocol", "groupkfold5", "--data", folder, cwd=tmp_path), *said)


def test_a_roster_that_the_roles_do_not_know_is_refused(folder, tmp_path):
    done = bench("run", "--protocol", "groupkfold5", "--data", folder, cwd=tmp_path)
    refused(done, "frozen roles belong to another image list", "protocol freeze")


@pytest.fixture
def own_protocol(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Roles for the small folder, frozen by the command line into a folder of protocols."""
    protocols = tmp_path / "protocols"
    protocols.mkdir()
    (protocols / "own.toml").write_text(
        'name = "own"\ntitle = "Own"\n'
        '[split]\nkind = "groupkfold"\nfolds = 2\nseed = 1\nval = 0.25\nstratify = ["label"]\n'
    )
    monkeypatch.setenv("BENCH_PROTOCOLS", str(protocols))
    monkeypatch.setenv("BENCH_WORKSPACE", str(tmp_path))  # its folder of protocols is this one
    done = bench("protocol", "freeze", "own", "--data", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return protocols


def test_frozen_roles_are_verified_and_never_frozen_again(own_protocol, folder, tmp_path):
    done = bench("protocol", "verify", "own", "--data", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sound" in done.stdout
    refused(
        bench("protocol", "freeze", "own", "--data", folder, cwd=tmp_path), "never change", "--as"
    )
    done = bench("protocol", "freeze", "own", "--data", folder, "--as", "own2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (own_protocol / "own2" / "ham10000.csv").exists()
    roles = own_protocol / "own" / "ham10000.csv"
    roles.write_text(roles.read_text().replace("train", "val", 1))
    done = bench("protocol", "verify", "own", "--data", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "frozen roles never change" in done.stderr
    refused(bench("run", "--protocol", "own", "--data", folder, cwd=tmp_path), "sha256")


def test_a_list_of_duplicates_that_is_no_table_is_refused(folder, tmp_path):
    (tmp_path / "pairs.csv").write_text('image_a,image_b\n"' + "x" * 200_000)
    words = ("protocol", "freeze", "groupkfold5", "--as", "own", "--data", folder)
    done = bench(*words, "--duplicates", "pairs.csv", cwd=tmp_path)
    refused(done, "pairs.csv: line 2: field larger than field limit")
    done = bench("data", "duplicates", "--data", folder, "--to", "pairs.csv/x.csv", cwd=tmp_path)
    refused(done, "pairs.csv")
    assert ".tmp" not in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "image_a;image_b;note\nISIC_0000;ISIC_0004;a, b\n",
        "image_a\timage_b\nISIC_0000\tISIC_0004\n",
        '\ufeffimage_a,image_b\r\n"ISIC_0000","ISIC_0004"\r\n\r\n',
        '"image_b","image_a"\n"ISIC_0004","ISIC_0000"',
    ],
)
def test_a_list_of_duplicates_is_read_in_any_dialect(tmp_path, text):
    (tmp_path / "pairs.csv").write_bytes(text.encode())
    ((one, other),) = read_pairs(tmp_path / "pairs.csv")
    assert {one, other} == {"ISIC_0000", "ISIC_0004"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_a,image_b\na,b,c\n", "line 2: has 3 cells, the header has 2"),
        ("image_a,image_b\na,\n", "line 2: names one image only"),
        ("image_a,image\na,b\n", "needs the columns image_a and image_b"),
        ('image_a,image_b\n"a\nx",b\n', "column image_a: 'a\\\\nx' has a control character"),
    ],
)
def test_a_faulty_list_of_duplicates_is_named_by_its_line(tmp_path, text, said):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(BenchError, match=said):
        read_pairs(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["audit", "--to", "file/audit"], "--to file/audit/index.html: cannot be written (file:"),
        (["audit", "--merge-groups", "file/g.csv"], "--merge-groups file/g.csv: cannot be written"),
        (["audit", "--merge-groups", "folder"], "--merge-groups"),
        (["eda", "--to", "file/eda.html"], "--to file/eda.html: cannot be written (file:"),
        (["eda", "--results", "file"], "--results file/data/x: cannot be written (file:"),
        (["duplicates", "--to", "file/p.csv"], "--to file/p.csv: cannot be written (file:"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_any_work(tmp_path, words, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    refused(bench("data", *words, "--data", "nowhere", cwd=tmp_path), said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_bad_images_are_all_named_before_training_starts(own_protocol, folder, tmp_path):
    assert own_protocol.exists()
    images = folder / "images"
    (images / "ISIC_0000.jpg").unlink()
    run = ("run", "--protocol", "own", "--data", folder, "--method", "custom_cnn")
    refused(bench(*run, cwd=tmp_path), "ISIC_0000", "1 of 24 image files are missing")
    (images / "ISIC_0000.jpg").write_bytes(b"")
    whole = (images / "ISIC_0001.jpg").read_bytes()
    (images / "ISIC_0001.jpg").write_bytes(whole[: len(whole) // 2])
    refused(bench(*run, cwd=tmp_path), "2 image files cannot be read", "ISIC_0000", "ISIC_0001")
    assert not list(tmp_path.glob("results/*"))


def test_a_results_folder_that_cannot_be_written_is_refused(own_protocol, folder, tmp_path):
    assert own_protocol.exists()
    (tmp_path / "results").write_text("a file")
    refused(bench("run", "--protocol", "own", "--data", folder, cwd=tmp_path), "--results results")


def test_eda_refuses_controls_and_images_that_are_missing_in_part(folder, tmp_path):
    eda = ("data", "eda", "--data", folder)
    refused(bench(*eda, "--protocol", "imagekfold5", cwd=tmp_path), "control", "--protocol")
    (folder / "images" / "ISIC_0000.jpg").unlink()
    refused(bench(*eda, cwd=tmp_path), "ISIC_0000")
    assert not (tmp_path / "results").exists()


def test_debug_shows_the_traceback_of_a_mistake_and_changes_no_exit_code(tmp_path):
    asked = ("run", "--protocol", "nosuch")
    refused(bench(*asked, cwd=tmp_path), "error: unknown protocol 'nosuch'")
    shown = bench("--debug", *asked, cwd=tmp_path)
    assert shown.returncode == 2
    assert "Traceback" in shown.stderr
    assert "error: unknown protocol 'nosuch'" in shown.stderr
    other = bench("run", "--protocol", "--debug", cwd=tmp_path)  # a name like any other
    assert (other.returncode, "Traceback" in other.stderr) == (2, False)


def test_an_interrupt_reaches_what_a_shell_has_put_into_the_background(tmp_path):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import bench.cli.main as m\n"
        "m.cli = lambda **_: signal.raise_signal(signal.SIGINT)\n"
        "m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
