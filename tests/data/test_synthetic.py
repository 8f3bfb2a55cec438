"""The synthetic cohort: its roster never moves, its views are siblings, its cache is whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import pytest

from bench.data import synthetic_cohort
from bench.data.synthetic import draw_images, synthetic_manifest
from bench.data.synthetic_cohort import CLASSES, Stream, cohort_table
from bench.dataset import Dataset
from bench.protocol import load_protocol, load_roles
from tests.conftest import ROOT

HAM10000 = ROOT.parent / "shared" / "data" / "ham10000" / "HAM10000_metadata.csv"
ROSTER = "14a7f8e73a08a411056292a034d84043e4702246037c7ab11b0174b79ee808ec"
METADATA = "411d4be9a9972c8f9d0fa088fdf7c0f1fc4a6973c5d507b87823e69550581464"
FEW = 24


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return cohort_table()


@pytest.fixture(scope="module")
def pictures(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Every image of the cohort's first 130 lesions, by image id."""
    return dict(draw_images(table[table["lesion_id"] <= "SYN_L00130"]))


def by_lesion(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates("lesion_id")


# who is in it


def test_roster_is_the_one_the_roles_were_frozen_for():
    assert synthetic_manifest().roster_sha256 == ROSTER


def test_metadata_never_moves(table):
    text = table.to_csv(index=False, lineterminator="\n")
    assert hashlib.sha256(text.encode()).hexdigest() == METADATA


def test_streams_are_philox_words_as_doubles():
    drawn = Stream.of(1, 7).uniform(1000)
    philox = np.random.Philox(key=(synthetic_cohort.SEED << 64) + (1 << 32) + 7)
    assert np.array_equal(drawn, np.random.Generator(philox).random(1000))
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_picks_follow_their_weights():
    stream = Stream.of(99)
    counts = np.bincount([stream.pick((0, 1, 3, 0)) for _ in range(4000)], minlength=4)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert counts[2] / 4000 == pytest.approx(0.75, abs=0.03)


def test_there_are_as_many_as_promised(table):
    assert len(table) == 1253
    assert table["lesion_id"].nunique() == 676
    assert table["patient_id"].nunique() == 400
    assert set(table.groupby("lesion_id").size()) == {1, 2, 3}


def test_every_class_has_thirty_patients(table):
    patients = table.groupby("label")["patient_id"].nunique()
    assert sorted(patients.index) == list(CLASSES)
    assert patients.min() >= 30


def test_classes_keep_the_order_of_ham10000_but_softened(table):
    counts = table["label"].value_counts()
    assert counts.index[0] == "nv"
    assert 0.25 < counts["nv"] / len(table) < 0.45
    assert set(counts.index[-3:]) == {"akiec", "vasc", "df"}


def test_some_patients_have_lesions_of_several_classes(table):
    classes = table.groupby("patient_id")["label"].nunique()
    assert (classes > 1).sum() > 50


def test_a_patient_is_one_person_and_a_lesion_one_thing(table):
    of_patient = ["patient_id", "age", "sex", "source"]
    of_lesion = ["lesion_id", "patient_id", "label", "localization", "dx_type"]
    assert len(table[of_patient].drop_duplicates()) == table["patient_id"].nunique()
    assert len(table[of_lesion].drop_duplicates()) == table["lesion_id"].nunique()


def test_ids_tell_nothing_of_class_or_patient(table):
    followed = (table["patient_id"] == table["patient_id"].shift()).mean()
    same_class = (table["label"] == table["label"].shift()).mean()
    by_chance = (table["label"].value_counts(normalize=True) ** 2).sum()
    assert followed < 0.02
    assert same_class == pytest.approx(by_chance, abs=0.05)


def test_some_ages_and_sexes_are_missing(table):
    assert 5 < table["age"].isna().sum() < 60
    assert 5 < table["sex"].isna().sum() < 60


@pytest.mark.real_data
@pytest.mark.skipif(not HAM10000.is_file(), reason="HAM10000 is not here")
@pytest.mark.parametrize(
    ("column", "weights"),
    [
        ("sex", synthetic_cohort.SEXES),
        ("dataset", dict(zip(
            ("rosendahl", "vidir_modern", "vidir_molemax", "vienna_dias"),
            synthetic_cohort.SOURCES.values(),
            strict=True,
        ))),
        ("localization", synthetic_cohort.LOCALIZATIONS),
    ],
)  # fmt: skip
def test_tables_are_counted_on_ham10000(column, weights):
    lesions = pd.read_csv(HAM10000).drop_duplicates("lesion_id")
    lesions = lesions[lesions["sex"] != "unknown"] if column == "sex" else lesions
    counted = 100 * pd.crosstab(lesions[column], lesions["dx"], normalize="columns")
    for value, row in weights.items():
        assert counted.loc[value or "unknown"].to_numpy() == pytest.approx(np.array(row), abs=0.6)


def test_metadata_goes_with_the_class_as_in_ham10000(table):
    lesions = by_lesion(table)
    age = lesions.groupby("label")["age"].mean()
    assert age[["akiec", "bcc", "bkl", "mel"]].min() > age[["nv", "df"]].max() + 5
    shares = lesions.groupby("label").apply(
        lambda rows: pd.Series({
            "practice": (rows["source"] == "synthetic_practice").mean(),
            "molemax": (rows["source"] == "synthetic_molemax").mean(),
            "leg": (rows["localization"] == "lower extremity").mean(),
            "face": (rows["localization"] == "face").mean(),
            "male": (rows["sex"] == "male").mean(),
        })
    )  # fmt: skip
    assert shares["practice"].idxmax() == "akiec"
    assert shares["molemax"].idxmax() in {"nv", "vasc", "df"}
    assert shares["leg"].idxmax() == "df"
    assert shares["face"].idxmax() == "akiec"
    assert shares.loc["akiec", "male"] > shares.loc["df", "male"]
    assert set(lesions.loc[lesions["dx_type"] == "follow_up", "label"]) == {"nv"}


def test_manifest_says_synthetic():
    manifest = synthetic_manifest()
    assert manifest.synthetic
    assert (manifest.name, manifest.unit, manifest.ungrouped) == ("synthetic", "patient", 0)
    assert "synthetic" in manifest.title
    assert "program" in manifest.citation
    assert manifest.classes == CLASSES


# what it looks like


def test_same_bytes_twice(table, pictures):
    again = dict(draw_images(table[table["lesion_id"] <= "SYN_L00010"]))
    for image_id, pixels in again.items():
        assert np.array_equal(pixels, pictures[image_id])


def test_images_have_the_shape_of_ham10000(pictures):
    for pixels in pictures.values():
        assert (pixels.shape, pixels.dtype) == ((96, 128, 3), np.uint8)
        assert pixels.std() > 3


@dataclass(frozen=True)
class Likeness:
    """How far apart images (N,) look: distance (N, N), infinite to itself, and what pairs share."""

    distance: np.ndarray
    same_lesion: np.ndarray
    same_patient: np.ndarray
    same_label: np.ndarray

    def nearest_has_its_label(self, allowed: np.ndarray) -> float:
        """Accuracy of taking the label of the nearest image among the allowed pairs (N, N)."""
        nearest = np.where(allowed, self.distance, np.inf).argmin(axis=1)
        return float(self.same_label[np.arange(len(nearest)), nearest].mean())


@pytest.fixture(scope="module")
def likeness(table: pd.DataFrame, pictures: dict[str, np.ndarray]) -> Likeness:
    """Colour statistics of thumbnails: mean and deviation of every channel, standardised."""
    rows = table[table["image_id"].isin(pictures)]
    thumbnails = [
        cv2.resize(pictures[image_id], (12, 9), interpolation=cv2.INTER_AREA)
        for image_id in rows["image_id"]
    ]
    looks = np.array([[*t.mean(axis=(0, 1)), *t.std(axis=(0, 1))] for t in np.float64(thumbnails)])
    looks /= looks.std(axis=0)
    distance = np.linalg.norm(looks[:, None] - looks[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    lesion, patient, label = (
        rows[name].to_numpy()[:, None] == rows[name].to_numpy()[None]
        for name in ("lesion_id", "patient_id", "label")
    )
    return Likeness(distance, lesion, patient, label)


def test_views_of_a_lesion_are_more_alike_than_lesions_of_its_class(likeness):
    siblings = likeness.distance[likeness.same_lesion & np.isfinite(likeness.distance)]
    strangers = likeness.distance[likeness.same_label & ~likeness.same_patient]
    assert np.median(siblings) < 0.5 * np.median(strangers)


def test_a_memoriser_profits_from_siblings(likeness):
    everyone = np.ones_like(likeness.same_patient)
    kind = likeness.nearest_has_its_label(everyone)
    honest = likeness.nearest_has_its_label(~likeness.same_patient)
    assert kind > honest + 0.08


def test_no_two_views_are_the_same_picture(pictures):
    assert len({pixels.tobytes() for pixels in pictures.values()}) == len(pictures)


def test_it_needs_no_torch():
    program = "import sys, bench.data.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# who is in which fold


def test_every_class_stands_in_every_part_of_every_frozen_fold():
    manifest: Dataset = synthetic_manifest()
    protocol = load_protocol("groupkfold5", ROOT / "protocols")
    roles = load_roles(protocol, "synthetic", ROOT / "protocols")
    roles.refuse_other_roster(manifest)
    assert roles.image_ids.tolist() == manifest.image_ids.tolist()
    for fold in range(roles.columns):
        for part in ("train", "val", "test"):
            rows = roles.rows(fold, part)
            patients = manifest.table.iloc[rows].groupby("label")["patient_id"].nunique()
            assert patients.reindex(CLASSES).min() >= 2, (fold, part)
