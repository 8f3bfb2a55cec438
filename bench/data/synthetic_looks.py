"""What the lesions of the synthetic cohort look like, as numbers: traits by class, colours of skin.

A class is a column of `TRAITS`. A lesion is a draw around it that may lean towards a class it is
confused with, so that classes overlap, and that varies every trait by itself, so that a lesion's
views resemble each other more than other lesions of its class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.data.synthetic_cohort import CLASSES, Stream

Look = dict[str, float]

TRAITS: Mapping[str, Sequence[float]] = {
    # lengths in pixels; pigments as absorption; white as cover. The order is that of `CLASSES`.
    "radius": (34, 27, 31, 26, 34, 27, 21),
    # irregularity, as a share of the radius
    "border": (0.16, 0.12, 0.13, 0.08, 0.20, 0.06, 0.09),
    # how far the border frays, and how wide it fades
    "patchy": (14, 9, 7, 7, 9, 3, 4),
    "blur": (7, 6, 2.5, 7, 3.5, 3.5, 2),
    "pigment": (0.18, 0.12, 0.55, 0.22, 0.75, 0.70, 0.04),
    # unevenness of the pigment: from side to side, darker within (+) or at the rim (-), in grains
    "colours": (0.4, 0.5, 0.5, 0.3, 1.3, 0.3, 0.2),
    "centre": (0, 0, 0, -0.5, 0, 0.5, 0.2),
    "mottle": (0.5, 0.4, 0.5, 0.2, 0.5, 0.2, 0.1),
    "network": (0.05, 0, 0.05, 0.35, 0.35, 0.45, 0),
    # dark dots, comedo-like openings
    "globules": (0.05, 0.15, 0.25, 0.02, 0.5, 0.25, 0.05),
    # pink, and white dots in it: the strawberry of an actinic keratosis
    "flush": (0.35, 0.22, 0.08, 0.28, 0.12, 0.06, 0.35),
    "follicles": (0.5, 0.02, 0.05, 0, 0.02, 0, 0),
    "vessels": (0.12, 0.8, 0.08, 0.1, 0.15, 0.02, 0.1),
    "ovoids": (0, 0.7, 0.03, 0, 0.1, 0.01, 0.03),
    # blue-white
    "veil": (0, 0.05, 0.05, 0, 0.6, 0.03, 0.05),
    "lacunae": (0, 0.02, 0, 0, 0.01, 0, 1.0),
    # the white patch amid a dermatofibroma
    "scar": (0.04, 0.08, 0.05, 0.75, 0.08, 0.02, 0.03),
    "scale": (0.55, 0.12, 0.15, 0.03, 0.05, 0, 0),
    # milia-like
    "cysts": (0.05, 0.03, 0.75, 0.02, 0.05, 0.03, 0),
    # reddened, freckled skin around
    "sun": (0.7, 0.45, 0.3, 0.05, 0.2, 0.08, 0.05),
}
SMALLEST_RADIUS, LARGEST_RADIUS = 12.0, 46.0

CONFUSED: Mapping[str, Sequence[int]] = {
    "akiec": (0, 40, 45, 5, 5, 0, 5),
    "bcc": (40, 0, 10, 10, 20, 10, 10),
    "bkl": (30, 5, 0, 5, 35, 25, 0),
    "df": (10, 25, 5, 0, 5, 50, 5),
    "mel": (5, 10, 35, 0, 0, 50, 0),
    "nv": (0, 5, 25, 10, 55, 0, 5),
    "vasc": (5, 40, 0, 15, 20, 20, 0),
}
"""What a lesion may be taken for, in percent."""

LEAN = 0.85
"""How far the most untypical lesion has gone over to the class it is taken for."""

SKIN: Mapping[str, Sequence[float]] = {
    "synthetic_practice": (0.76, 0.63, 0.64),
    "synthetic_modern": (0.74, 0.62, 0.67),
    "synthetic_molemax": (0.86, 0.56, 0.57),
    "synthetic_slides": (0.81, 0.61, 0.61),
}
"""Red, green, blue of skin: medians beside the lesion in HAM10000's four sources."""

SKIN_SPREAD = np.array(((0.13, 0.16, 0.17), (0.0, 0.05, 0.04), (0.0, 0.0, 0.06)))
"""Patients differ from it, as logarithms: lighter or darker, redder, yellower."""

SKIN_STREAM, LOOK_STREAM = 10, 11


def lesion_look(number: int, label: str) -> Look:
    """The traits of a lesion by its number in the cohort."""
    stream = Stream.of(LOOK_STREAM, number)
    own, other = CLASSES.index(label), stream.pick(CONFUSED[label])
    lean = LEAN * stream.uniform(1)[0] ** 2
    varied = 0.55 + 0.9 * stream.uniform(len(TRAITS))
    look = {
        trait: float(((1 - lean) * column[own] + lean * column[other]) * factor)
        for (trait, column), factor in zip(TRAITS.items(), varied, strict=True)
    }
    look["radius"] = min(max(look["radius"], SMALLEST_RADIUS), LARGEST_RADIUS)
    return look


def skin_of(patient: int, source: str) -> np.ndarray:
    """Colour (3,) float32 of a patient's skin as a source shows it: RGB in [0, 1]."""
    draws = 2 * Stream.of(SKIN_STREAM, patient).uniform(3) - 1
    return np.asarray(np.array(SKIN[source]) * np.exp(draws @ SKIN_SPREAD), np.float32)
