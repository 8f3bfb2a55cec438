"""Every bad input that an audit must find, made on purpose; and that it goes on after each."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bench.data.audit import Audit, KnownPairs, MissedPair, audit, audit_json
from bench.data.duplicates import near
from bench.data.duplicates.registration import overlay
from bench.data.image_checks import check_image
from bench.data.open import DatasetSpec
from bench.data.synthetic import draw_images, synthetic_manifest
from bench.errors import DataError
from bench.folds.assign import join_groups
from bench.report.audit_page import render_audit

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def picture(seed: int, size: tuple[int, int] = (96, 80)) -> np.ndarray:
    """A picture (H, W, 3) that has nothing in common with that of another seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def row(at: int, lesion: str | None = None, label: str = "nv", **rest: str) -> str:
    cells = {"age": "50", "sex": "male", "site": "back"} | rest
    lesion = f"L{at}" if lesion is None else lesion
    return f"{lesion},I{at},{label},histo,{cells['age']},{cells['sex']},{cells['site']}"


def put(folder: Path, rows: list[str], content: bytes | None = None) -> Path:
    """A folder in HAM10000's layout with a sound picture for each row."""
    text = "\n".join([HEADER, *rows]) + "\n"
    (folder / "HAM10000_metadata.csv").write_bytes(content or text.encode())
    for at in range(len(rows)):
        Image.fromarray(picture(at)).save(folder / f"I{at}.png")
    return folder


def found(folder: Path, **rest) -> tuple[Audit, dict[str, list[str]]]:
    done = audit(DatasetSpec(folder, **rest))
    return done, {f.kind: [f"{x.where} {x.what}".strip() for x in f.named] for f in done.findings}


def test_a_sound_dataset_passes(tmp_path):
    done, kinds = found(put(tmp_path, [row(n) for n in range(6)]))
    assert kinds == {}
    assert not done.failed
    assert (done.images_read, done.sizes) == (6, {"96x80": 6})


# --- metadata -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "kind", "said", "grave"),
    [
        ([row(0), row(1) + ",x", row(2)], "width", "line 3 has 8 cells, the header has 7", True),
        ([row(0), "L1,I1,nv", row(2)], "width", "line 3 has 3 cells", True),
        ([row(0), row(0), row(2)], "twice", "I0 2 rows", True),
        ([row(0), row(1, label="scc"), row(2)], "label", "I1 'scc'", True),
        ([row(0), "L1,,nv,histo,1,male,back"], "no id", "line 3", True),
        ([row(0), row(1, label="")], "no label", "I1 has no label", True),
        ([row(0, "L"), row(1, "L", "mel")], "torn lesion", "lesion L mel, nv (I0, I1)", True),
        ([row(0, "L"), row(1, "L", site="foot")], "torn site", "back, foot (I0, I1)", False),
        ([row(0, "L"), row(1, "L", sex="female")], "torn sex", "female, male", False),
        ([row(0), row(1, age="")], "age missing", "I1", False),
        ([row(0), row(1, age="0")], "age zero", "I1", False),
        ([row(0), row(1, age="-4")], "age", "age is '-4'", True),
        ([row(0), row(1, age="200")], "age", "age is '200'", True),
        ([row(0), row(1, "")], "ungrouped", "I1", False),
        ([row(0), row(1).replace("histo", '"histo')], "quoting", "line 3", True),
        (
            [row(0), row(1).replace("L1", "L\x07")],
            "control",
            "line 3 column lesion_id: 'L\\x07'",
            True,
        ),
        (
            [row(0), row(1).replace("I1", '"I\n1"')],
            "control",
            "column image_id: 'I\\n1' has",
            True,
        ),
        ([row(0), row(1, label="n\x1bv")], "control", "column dx: 'n\\x1bv'", True),
        ([row(0), row(1, site="ba\u2028ck")], "control", "column localization", True),
    ],
)
def test_bad_rows_are_named_and_the_rest_is_read(tmp_path, rows, kind, said, grave):
    done, kinds = found(put(tmp_path, rows))
    assert said in kinds[kind][0]
    assert done.failed == grave
    assert "I0" in done.manifest.image_ids


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (f"{HEADER}\n{row(0)}\n{row(1, site='Schläfe')}\n".encode("cp1252"), "encoding"),
        (f"{HEADER}\n{row(0)}\n{row(1)}\n".encode("utf-16"), "encoding"),
        (f"{HEADER}\n{row(0)}\n{row(1)}\n".replace("male", "ma\0le").encode(), "nul"),
    ],
)
def test_bad_text_is_named_and_still_read(tmp_path, content, kind):
    done, kinds = found(put(tmp_path, [row(0), row(1)], content))
    assert kind in kinds
    assert done.failed
    assert done.manifest.image_ids.tolist() == ["I0", "I1"]


def test_a_file_that_breaks_off_before_its_first_row_is_named_for_it(tmp_path):
    content = f'{HEADER}\n"{row(0)}\n{row(1)}\n'.encode()
    with pytest.raises(DataError, match="line 3: unexpected end of data"):
        found(put(tmp_path, [row(0), row(1)], content))


def test_ids_stay_text(tmp_path):
    put(tmp_path, ["NA,I0,nv,histo,1,male,back", "007,I1,nv,histo,1,male,back"])
    assert found(tmp_path)[0].manifest.native_groups.tolist() == ["NA", "007"]


def test_classes_that_differ_by_letter_case_are_named(tmp_path):
    (tmp_path / "manifest.csv").write_text("image,label,group\na,NV,1\nb,nv,2\n")
    assert found(tmp_path)[1]["alike"] == ["NV NV, nv"]


def test_metadata_without_images_is_no_fault(tmp_path):
    put(tmp_path, [row(0), row(1)])
    for path in tmp_path.glob("*.png"):
        path.unlink()
    done, kinds = found(tmp_path)
    assert list(kinds) == ["no images"]
    assert not done.failed
    assert "only the metadata" in render_audit(done)


def test_rows_without_image_and_images_without_row_and_two_files_are_named(tmp_path):
    put(tmp_path, [row(n) for n in range(4)])
    (tmp_path / "I0.png").unlink()
    Image.fromarray(picture(9)).save(tmp_path / "stranger.png")
    Image.fromarray(picture(8)).save(tmp_path / "I1.jpg")
    done, kinds = found(tmp_path)
    assert kinds["missing"] == ["I0"]
    assert "stranger.png" in kinds["unwanted"][0]
    assert "I1.jpg" in kinds["two files"][0]
    assert done.failed


# --- images ---------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **rest) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **rest)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG of some hundred bytes that says it has 20,000 x 20,000 pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(picture(1)), "JPEG", exif=exif)


def clear() -> Image.Image:
    image = Image.fromarray(picture(1)).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(96, dtype=np.uint8), (80, 1))))
    return image


SOUND = Image.fromarray(picture(1))
GREY = SOUND.convert("L")
DEEP = cv2.imencode(".png", picture(1).astype(np.uint16) * 257)[1].tobytes()
FILES = {
    "empty": ("png", b"", "unreadable"),
    "text": ("jpg", b"<html>404 Not Found</html>", "unreadable"),
    "half a jpeg": ("jpg", saved(SOUND, "JPEG")[:-900], "unreadable"),
    "half a png": ("png", saved(SOUND, "PNG")[:-900], "unreadable"),
    "gif": ("jpg", saved(SOUND, "GIF"), "unreadable"),
    "png named jpg": ("jpg", saved(SOUND, "PNG"), "content"),
    "jpeg named png": ("png", saved(SOUND, "JPEG"), "content"),
    "16 bits grey": ("png", saved(Image.fromarray(picture(1)[..., 0].astype("u2")), "PNG"), "deep"),
    "16 bits of colour": ("png", DEEP, "deep"),
    "cmyk": ("jpg", saved(SOUND.convert("CMYK"), "JPEG"), "cmyk"),
    "grey": ("png", saved(GREY, "PNG"), "grey"),
    "grey in colour": ("jpg", saved(GREY.convert("RGB"), "JPEG"), "grey"),
    "alpha": ("png", saved(clear(), "PNG"), "alpha"),
    "animated": ("png", saved(SOUND, "PNG", save_all=True, append_images=[GREY.convert("RGB")]),
                 "animated"),
    "turned": ("jpg", turned(), "turned"),
    "blank": ("png", saved(Image.new("RGB", (99, 99), "tan"), "PNG"), "blank"),
    "nearly blank": ("png", saved(Image.fromarray(picture(1) // 32), "PNG"), "blank"),
    "bomb": ("png", bomb(), "bomb"),
    "small": ("png", saved(SOUND.resize((30, 40)), "PNG"), "small"),
}  # fmt: skip
GRAVE = {"unreadable", "deep", "bomb"}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_known_by_its_content(tmp_path, name):
    suffix, content, kind = FILES[name]
    path = tmp_path / f"I0.{suffix}"
    path.write_bytes(content)
    looked = check_image("I0", path)
    assert kind in {fault.kind for fault in looked.issues}
    assert looked.readable == (kind not in GRAVE)
    assert {fault.kind for fault in looked.issues if fault.grave} <= GRAVE


def test_a_sound_file_has_no_fault(tmp_path):
    for kind, suffix in (("PNG", "png"), ("JPEG", "JPG")):
        path = tmp_path / f"I0.{suffix}"
        path.write_bytes(saved(SOUND, kind))
        looked = check_image("I0", path)
        assert (looked.issues, looked.size, looked.readable) == ((), (96, 80), True)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    looked = check_image("I0", tmp_path / "none.png")
    assert [fault.kind for fault in looked.issues] == ["unreadable"]


def test_all_bad_files_of_a_folder_are_listed_and_counted_past_twenty(tmp_path):
    put(tmp_path, [row(n) for n in range(30)])
    for at in range(25):
        (tmp_path / f"I{at}.png").write_bytes(b"no image")
    (tmp_path / "I25.png").write_bytes(bomb())
    done, kinds = found(tmp_path)
    told = json.loads(audit_json(done))
    unreadable = next(f for f in told["findings"] if f["kind"] == "unreadable")
    assert (unreadable["count"], len(unreadable["named"])) == (25, 20)
    assert kinds["bomb"]
    page = render_audit(done)
    assert "and 5 more." in page


# --- duplicates -----------------------------------------------------------------------------------


@pytest.fixture
def lesions(tmp_path: Path) -> Path:
    """Eight drawn lesions: 0 stands as bytes in 1, mirrored in 2, and in 3 under its own lesion."""
    table = synthetic_manifest().table.iloc[:8]
    rows = [row(n) for n in range(8)]
    rows[3] = row(3, "L0")
    put(tmp_path, rows)
    drawn = [pixels[..., ::-1] for _, pixels in draw_images(table)]
    for at, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(tmp_path / f"I{at}.png")
    for at in (1, 3):
        (tmp_path / f"I{at}.png").write_bytes((tmp_path / "I0.png").read_bytes())
    Image.fromarray(drawn[0][:, ::-1]).save(tmp_path / "I2.png")
    return tmp_path


def test_duplicates_across_groups_are_shown_and_within_are_noted(lesions):
    done, kinds = found(lesions)
    assert done.failed
    assert kinds["copies within"] == ["I0 and I3"]
    assert kinds["copies across"] == ["I0 and I1 identical files"]
    assert any("I2" in (p.image_a, p.image_b) for p in done.pairs if p.kind == "near across")
    page = render_audit(done)
    assert page.count("data:image/jpeg;base64,") == 2 * len(done.pairs)
    assert "http" not in page.replace("http-equiv", "")


def test_copies_with_two_diagnoses_are_named(lesions):
    text = (lesions / "HAM10000_metadata.csv").read_text()
    (lesions / "HAM10000_metadata.csv").write_text(text.replace("L1,I1,nv", "L1,I1,mel"))
    assert "mel" in found(lesions)[1]["copies labels"][0]


def test_what_is_known_to_be_one_group_is_noted_only(lesions):
    one = {f"I{at}": "L0" for at in range(4)}
    done = audit(DatasetSpec(lesions), lambda _: KnownPairs(one, frozenset({("I0", "I1")})))
    assert {pair.kind for pair in done.pairs} == {"near known"}
    assert not done.failed
    assert (done.standing.united, done.standing.new_sure) == (1, 0)


def test_pairs_are_told_apart_as_united_known_since_and_new(lesions):
    known = KnownPairs(
        {"I0": "L0", "I1": "L0"},
        frozenset({("I0", "I1")}),
        (MissedPair("I2", "I0", "same lesion", "missed.csv"),
         MissedPair("I5", "I6", "same lesion", "missed.csv")),
    )  # fmt: skip
    done = audit(DatasetSpec(lesions), lambda _: known)
    standing = {frozenset((p.image_a, p.image_b)): (p.standing, p.found) for p in done.pairs}
    assert standing[frozenset(("I0", "I1"))] == ("frozen", True)
    assert standing[frozenset(("I0", "I2"))] == ("missed", True)
    assert standing[frozenset(("I5", "I6"))] == ("missed", False)
    told = done.standing
    assert (told.united, told.united_found, told.missed, told.missed_found) == (1, 1, 2, 1)
    assert (told.joined_found, told.new_sure) == (0, 0)
    page = render_audit(done)
    assert "same lesion (missed.csv); not found by this search" in page
    assert json.loads(audit_json(done))["known_pairs"]["missed"] == 2
    assert {"I5", "I6"} <= {image for pair in done.united for image in pair}


def test_known_pairs_are_found_by_copies_of_their_images(lesions):
    known = KnownPairs({}, frozenset(), (MissedPair("I2", "I3", "same lesion", "missed.csv"),))
    done = audit(DatasetSpec(lesions), lambda _: known)  # I3 has the bytes of I0
    standing = {frozenset((p.image_a, p.image_b)): (p.standing, p.found) for p in done.pairs}
    assert standing == {
        frozenset(("I0", "I1")): ("new", True),
        frozenset(("I2", "I3")): ("missed", True),
    }


def test_many_links_to_few_files_are_told_in_as_many_lines_and_united(lesions, monkeypatch):
    copies, compared = 150, []
    rows = [row(n) for n in range(8)] + [row(8 + n) for n in range(copies)]
    (lesions / "HAM10000_metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    for n in range(copies):
        (lesions / f"I{8 + n}.png").symlink_to(lesions / f"I{n % 3}.png")
    monkeypatch.setattr(near, "overlay", lambda *asked: compared.append(1) or overlay(*asked))
    done = audit(DatasetSpec(lesions))
    counted = {finding.kind: finding.count for finding in done.findings}
    assert counted["copies across"] == copies + 2  # I1 and I3 are copies from the first
    assert counted["near across"] == 1  # I2 is I0, mirrored
    assert len(compared) < 8 * 7 / 2
    groups = join_groups(done.manifest, done.united)
    group_of = dict(zip(done.manifest.image_ids, groups, strict=True))
    alike = {f"I{n}" for n in (0, 1, 2, 3, *range(8, 8 + copies))}
    assert len({group_of[each] for each in alike}) == 1
    assert len(set(groups)) == 5


def test_without_the_search_for_near_duplicates_copies_are_still_found(lesions):
    done = audit(DatasetSpec(lesions), near=False)
    whole = audit(DatasetSpec(lesions))
    assert whole.search is not None
    assert done.search is None
    assert [p for p in whole.pairs if p.evidence == "identical files"] == list(done.pairs)
    assert "Near duplicates were not searched" in render_audit(done)
    assert json.loads(audit_json(done))["near_duplicates"] is None
