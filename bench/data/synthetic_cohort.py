"""The synthetic cohort: patients, lesions and views, drawn from a fixed seed.

Frozen roles depend on every id, group and label, so the table must be the same under all versions
of NumPy. It uses raw 64-bit words of Philox (a stream that NumPy guarantees) and integer tables,
never the methods of a Generator, whose algorithms may change.

The tables are percentages by class, counted on the lesions of HAM10000 (Tschandl et al. 2018,
doi:10.1038/sdata.2018.161): one row per value, one column per class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.dataset import COLUMNS

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = ("akiec", "bcc", "mel")
SEED = 20180814
"""The seed of the cohort and of the images (`bench.data.synthetic`)."""

Weights = Mapping[str | int, Sequence[int]]

PATIENTS_BY_CLASS = (36, 48, 66, 30, 72, 118, 30)
"""Number of patients by class of the first lesion: 400, less imbalanced than HAM10000."""

FURTHER_LESIONS = (8, 10, 20, 2, 8, 50, 2)
"""Classes of further lesions of a patient in percent, if they differ from the first lesion."""

SAME_CLASS_PERCENT = 40
LESIONS_PER_PATIENT = (45, 35, 20)
VIEWS_PER_LESION = (42, 36, 22)
MISSING_PERCENT = 2

AGES: Weights = {  # the decade that ends at this age
    10: (0, 0, 1, 0, 0, 1, 5),
    20: (0, 0, 0, 0, 1, 3, 4),
    30: (0, 1, 0, 5, 4, 8, 6),
    40: (3, 5, 6, 19, 8, 23, 9),
    50: (9, 11, 14, 25, 14, 33, 22),
    60: (26, 13, 19, 23, 22, 18, 21),
    70: (29, 30, 28, 19, 27, 9, 12),
    80: (25, 29, 24, 8, 17, 5, 16),
    90: (8, 10, 8, 0, 7, 0, 3),
}
SEXES: Weights = {
    "female": (35, 37, 42, 52, 40, 48, 49),
    "male": (65, 63, 58, 48, 60, 52, 51),
}
SOURCES: Weights = {  # modelled on rosendahl, vidir_modern, vidir_molemax and vienna_dias
    "synthetic_practice": (93, 65, 48, 22, 37, 10, 2),
    "synthetic_modern": (7, 34, 34, 34, 54, 17, 40),
    "synthetic_molemax": (0, 1, 17, 41, 2, 69, 55),
    "synthetic_slides": (0, 1, 1, 3, 7, 4, 3),
}
LOCALIZATIONS: Weights = {
    "abdomen": (1, 3, 5, 3, 5, 13, 22),
    "back": (10, 38, 18, 1, 30, 20, 12),
    "chest": (4, 10, 7, 0, 6, 2, 3),
    "ear": (1, 0, 1, 0, 2, 0, 0),
    "face": (37, 19, 27, 0, 11, 1, 5),
    "foot": (0, 1, 0, 1, 2, 4, 0),
    "genital": (0, 0, 0, 1, 0, 1, 0),
    "hand": (4, 0, 2, 0, 0, 1, 3),
    "lower extremity": (18, 11, 15, 74, 17, 23, 16),
    "neck": (4, 3, 3, 0, 3, 1, 2),
    "scalp": (4, 3, 3, 0, 1, 0, 2),
    "trunk": (0, 2, 8, 0, 4, 21, 28),
    "": (0, 1, 3, 0, 1, 3, 0),
    "upper extremity": (18, 10, 9, 19, 18, 9, 6),
}
CONSENSUS_PERCENT: Mapping[str, Sequence[int]] = {  # the rest is histo, or nv's follow_up
    "synthetic_practice": (0, 0, 0, 0, 0, 0, 0),
    "synthetic_modern": (0, 0, 36, 56, 0, 36, 28),
    "synthetic_molemax": (0, 0, 95, 100, 0, 0, 100),
    "synthetic_slides": (0, 0, 0, 0, 0, 0, 0),
}


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of uniform doubles in [0, 1), the same under all versions of NumPy.

    Streams with different (kind, number) are independent: an additional draw for one patient does
    not change the draws of others.
    """

    words: np.random.Philox

    @classmethod
    def of(cls, kind: int, number: int = 0) -> Stream:
        """The stream of a kind (patients, traits, views, ...) and a number."""
        return cls(np.random.Philox(key=(SEED << 64) + (kind << 32) + number))

    def uniform(self, count: int) -> np.ndarray:
        """(count,) float64 in [0, 1), the upper 53 bits of each word."""
        return (self.words.random_raw(count) >> np.uint64(11)) * 2.0**-53

    def pick(self, weights: Sequence[int]) -> int:
        """An index, in proportion to integer weights."""
        cumulative = np.cumsum(weights)
        return int(np.searchsorted(cumulative, self.uniform(1)[0] * cumulative[-1], side="right"))

    def value(self, table: Weights, label: int) -> str | int:
        """A row of a table, in proportion to the column of a class."""
        rows = list(table)
        return rows[self.pick([table[row][label] for row in rows])]

    def chance(self, percent: float) -> bool:
        """True with a probability of `percent` / 100."""
        return bool(self.uniform(1)[0] * 100 < percent)

    def order(self, count: int) -> np.ndarray:
        """A random order (count,) of int64."""
        return np.argsort(self.uniform(count), kind="stable")


PATIENT, ORDER = 1, 2
"""Kinds of streams of this module; `bench.data.synthetic` uses kinds from 10."""


def cohort_table() -> pd.DataFrame:
    """The cohort, one row per image, with the columns of Record, sorted by image id.

    About 400 patients, 700 lesions and 1,200 images. Image ids are in random order, so that
    neighbouring ids are unrelated in class, lesion and patient. Draws no pixel.
    """
    firsts = np.repeat(np.arange(len(CLASSES)), PATIENTS_BY_CLASS)
    firsts = firsts[Stream.of(ORDER).order(len(firsts))]
    rows: list[dict[str, object]] = []
    lesions = 0
    for number, first in enumerate(firsts.tolist(), start=1):
        stream = Stream.of(PATIENT, number)
        patient = _patient(stream, number, first)
        for rank in range(1 + stream.pick(LESIONS_PER_PATIENT)):
            lesions += 1
            further = rank > 0 and not stream.chance(SAME_CLASS_PERCENT)
            label = stream.pick(FURTHER_LESIONS) if further else first
            lesion = patient | _lesion(stream, lesions, label, str(patient["source"]))
            rows += [lesion] * (1 + stream.pick(VIEWS_PER_LESION))
    table = pd.DataFrame(rows)
    table["image_id"] = [f"SYN_{place:07d}" for place in Stream.of(ORDER, 1).order(len(rows)) + 1]
    return (
        table[[column for column in COLUMNS if column in table]]
        .sort_values("image_id")
        .reset_index(drop=True)
    )


def _patient(stream: Stream, number: int, label: int) -> dict[str, object]:
    decade = int(stream.value(AGES, label))
    age = min(decade - (5 if stream.chance(50) else 0), 85)
    sex = stream.value(SEXES, label)
    source = stream.value(SOURCES, label)
    return {
        "patient_id": f"SYN_P{number:04d}",
        "age": None if stream.chance(MISSING_PERCENT) else float(age),
        "sex": None if stream.chance(MISSING_PERCENT) else sex,
        "source": source,
    }


def _lesion(stream: Stream, number: int, label: int, source: str) -> dict[str, object]:
    name = CLASSES[label]
    rest = "follow_up" if (name, source) == ("nv", "synthetic_molemax") else "histo"
    consensus = stream.chance(CONSENSUS_PERCENT[source][label])
    return {
        "lesion_id": f"SYN_L{number:05d}",
        "label": name,
        "localization": stream.value(LOCALIZATIONS, label) or None,
        "dx_type": "consensus" if consensus else rest,
    }
