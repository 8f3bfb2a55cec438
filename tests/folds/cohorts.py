"""Random cohorts to split: patients with lesions, lesions with views."""

from __future__ import annotations

import numpy as np

from bench.dataset import Dataset, Record
from bench.protocol import Protocol, Split

CLASSES = ("akiec", "mel", "nv", "vasc")
SHARES = (0.15, 0.2, 0.5, 0.15)


def random_manifest(seed: int, patients: int = 60) -> Dataset:
    """Patients of one to three lesions with one to four views; some without patient or lesion id.

    At least 15 patients have each class.
    """
    rng = np.random.default_rng(seed)
    records = []
    for patient in range(patients):
        age = float(rng.integers(1, 90)) if rng.random() > 0.1 else None
        sex = rng.choice(["male", "female"]) if rng.random() > 0.1 else None
        for lesion in range(rng.integers(1, 4)):
            label = CLASSES[patient % 4] if lesion == 0 else rng.choice(CLASSES, p=SHARES)
            name = f"L{patient:03d}_{lesion}"
            records += [
                Record(
                    image_id=f"I{patient:03d}_{lesion}_{view}",
                    label=str(label),
                    lesion_id=name if rng.random() > 0.05 else None,
                    patient_id=f"P{patient:03d}" if rng.random() > 0.05 else None,
                    age=age,
                    sex=None if sex is None else str(sex),
                    localization=str(rng.choice(["back", "face", "foot"])),
                    source=str(rng.choice(["here", "there"])),
                )
                for view in range(rng.integers(1, 5))
            ]
    return Dataset.from_records("random", CLASSES, records)


def small_split(**changes: object) -> Split:
    """A quick split: five folds, one candidate, all attributes."""
    fields = {
        "kind": "groupkfold",
        "folds": 5,
        "seed": 1,
        "val": 0.1,
        "stratify": ["label", "sex", "age", "localization", "source"],
    }
    return Split.model_validate(fields | changes)


def protocol_of(split: Split) -> Protocol:
    """A protocol with this split and nothing else of note."""
    return Protocol(name="small", title="Small", split=split)
