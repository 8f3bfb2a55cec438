"""The embedded synthetic dataset: drawn images, and their folder in the cache.

A class is a column of `TRAITS`. The traits of a lesion are drawn around its class, with a shift
towards a class it is confused with, so that classes overlap. Every trait varies per lesion, so that
the views of a lesion are more similar to each other than to other lesions of the class.

Skin is a colour. A lesion absorbs light like pigments: melanin, blood, and deep melanin, which is
blue (Beer-Lambert law, one absorption per colour channel). Keratin and scars are white on top.

The pixels are deterministic on one machine; other versions of OpenCV may change the last bits.

    <cache>/synthetic/<version>/metadata.csv   columns of HAM10000 and `patient_id`
    <cache>/synthetic/<version>/images/        one PNG per image, 128x96
    <cache>/synthetic/<version>/sha256         hash of all files, checked at every opening

The version is a hash of the program and of the drawing libraries, so that a changed program never
reads the images of an older one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from bench.data import synthetic_cohort
from bench.data.cache import cache_folder
from bench.data.open import OpenDataset
from bench.data.synthetic_cohort import CLASSES, Stream
from bench.dataset import Dataset
from bench.errors import DataError
from bench.io import ensure_folder

Look = dict[str, float]

TRAITS: Mapping[str, Sequence[float]] = {
    # lengths in pixels; pigments as absorption; white as cover. The order is that of `CLASSES`.
    "radius": (34, 27, 31, 26, 34, 27, 21),
    # irregularity, as a share of the radius
    "border": (0.16, 0.12, 0.13, 0.08, 0.20, 0.06, 0.09),
    # irregular and blurred width of the border
    "patchy": (14, 9, 7, 7, 9, 3, 4),
    "blur": (7, 6, 2.5, 7, 3.5, 3.5, 2),
    "pigment": (0.18, 0.12, 0.55, 0.22, 0.75, 0.70, 0.04),
    # variation of the pigment: large-scale, darker centre (+) or rim (-), small-scale
    "colours": (0.4, 0.5, 0.5, 0.3, 1.3, 0.3, 0.2),
    "centre": (0, 0, 0, -0.5, 0, 0.5, 0.2),
    "mottle": (0.5, 0.4, 0.5, 0.2, 0.5, 0.2, 0.1),
    "network": (0.05, 0, 0.05, 0.35, 0.35, 0.45, 0),
    # dark dots, comedo-like openings
    "globules": (0.05, 0.15, 0.25, 0.02, 0.5, 0.25, 0.05),
    # pink with white dots: the strawberry pattern of an actinic keratosis
    "flush": (0.35, 0.22, 0.08, 0.28, 0.12, 0.06, 0.35),
    "follicles": (0.5, 0.02, 0.05, 0, 0.02, 0, 0),
    "vessels": (0.12, 0.8, 0.08, 0.1, 0.15, 0.02, 0.1),
    "ovoids": (0, 0.7, 0.03, 0, 0.1, 0.01, 0.03),
    # blue-white
    "veil": (0, 0.05, 0.05, 0, 0.6, 0.03, 0.05),
    "lacunae": (0, 0.02, 0, 0, 0.01, 0, 1.0),
    # the central white patch of a dermatofibroma
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
"""Classes that a lesion is confused with, in percent."""

LEAN = 0.85
"""The largest shift of a lesion towards the class it is confused with."""

SKIN: Mapping[str, Sequence[float]] = {
    "synthetic_practice": (0.76, 0.63, 0.64),
    "synthetic_modern": (0.74, 0.62, 0.67),
    "synthetic_molemax": (0.86, 0.56, 0.57),
    "synthetic_slides": (0.81, 0.61, 0.61),
}
"""Red, green, blue of skin: medians beside the lesion in HAM10000's four sources."""

SKIN_SPREAD = np.array(((0.13, 0.16, 0.17), (0.0, 0.05, 0.04), (0.0, 0.0, 0.06)))
"""Variation between patients in log space: lightness, redness, yellowness."""

SKIN_STREAM, LOOK_STREAM = 10, 11


def lesion_traits(number: int, label: str) -> Look:
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


WIDTH, HEIGHT = 128, 96
CANVAS = 168
"""Side of the square that a lesion is drawn on, in pixels of the finished image."""

MELANIN = np.array((0.55, 1.05, 1.20), np.float32)
BLOOD = np.array((0.22, 1.00, 0.72), np.float32)
BLUE = np.array((1.25, 0.85, 0.50), np.float32)
WHITE = np.array((0.95, 0.87, 0.84), np.float32)
HAIR = np.array((0.24, 0.16, 0.14), np.float32)

HAIR_PERCENT = 25
VIGNETTE_PERCENT = {"synthetic_practice": 6, "synthetic_modern": 25}
RULER_PERCENT = {"synthetic_practice": 12, "synthetic_modern": 6}

TEXTURE_STREAM, HAIR_STREAM, VIEW_STREAM = 12, 13, 14

DOWN, RIGHT = np.mgrid[:CANVAS, :CANVAS].astype(np.float32) - np.float32(CANVAS / 2)
DISTANCE = np.hypot(RIGHT, DOWN)
DIRECTIONS = 720
DIRECTION = (np.arctan2(DOWN, RIGHT) / (2 * np.pi) * DIRECTIONS).astype(np.int32) % DIRECTIONS
"""Polar coordinates of the canvas: distance in pixels, angle in DIRECTIONS-ths of a turn."""


def draw_images(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Draw every image of `cohort_table()`: image id, (96, 128, 3) uint8 BGR for OpenCV."""
    for lesion_id, views in table.groupby("lesion_id", sort=True):
        first = views.iloc[0]
        skin = skin_of(_number(first["patient_id"]), first["source"])
        canvas = _draw_lesion(_number(lesion_id), first["label"], skin)
        for image_id in views["image_id"]:
            yield image_id, _draw_view(canvas, _number(image_id), first["source"])


def _number(identifier: object) -> int:
    """The number in SYN_P0001, SYN_L00001 and SYN_0000001."""
    return int(str(identifier).removeprefix("SYN_").lstrip("PL"))


class _Brush:
    """Draws (CANVAS, CANVAS) float32 layers from one stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def noise(self, cells: int) -> np.ndarray:
        """Smooth noise of about [-1, 1] with `cells` cells across the canvas."""
        coarse = self.stream.uniform(cells * cells).reshape(cells, cells)
        size = (CANVAS, CANVAS)
        return _layer(cv2.resize(_layer(coarse * 2 - 1), size, interpolation=cv2.INTER_CUBIC))

    def dots(self, count: int, reach: float, low: float, high: float, soft: float) -> np.ndarray:
        """Discs of radius low to high pixels within `reach` of the centre, in [0, 1]."""
        layer = np.zeros((CANVAS, CANVAS), np.uint8)
        for distance, turn, size, depth in self.stream.uniform(4 * count).reshape(count, 4):
            r, angle = reach * np.sqrt(distance), 2 * np.pi * turn
            centre = (
                _fixed(CANVAS / 2 + r * np.cos(angle)),
                _fixed(CANVAS / 2 + r * np.sin(angle)),
            )
            radius = _fixed(low + (high - low) * size)
            cv2.circle(layer, centre, radius, int(150 + 105 * depth), -1, cv2.LINE_AA, 4)
        return _softened(layer, soft)

    def threads(
        self, count: int, reach: float, length: float, bend: float, soft: float
    ) -> np.ndarray:
        """Curved lines that start within `reach` of the centre, in [0, 1]."""
        layer = np.zeros((CANVAS, CANVAS), np.uint8)
        for line in self.stream.uniform(12 * count).reshape(count, 12):
            r, angle = reach * np.sqrt(line[0]), 2 * np.pi * line[1]
            start = CANVAS / 2 + r * np.array((np.cos(angle), np.sin(angle)))
            headings = 2 * np.pi * line[2] + np.cumsum((line[3:] - 0.5) * bend)
            steps = np.stack((np.cos(headings), np.sin(headings)), axis=1) * length / 9
            points = np.vstack((start, start + np.cumsum(steps, axis=0)))
            cv2.polylines(layer, [(points * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
        return _softened(layer, soft)


def _fixed(value: float) -> int:
    return round(value * 16)


def _softened(layer: np.ndarray, soft: float) -> np.ndarray:
    blurred = cv2.GaussianBlur(layer, (0, 0), soft) if soft else layer
    return _layer(blurred) / 255


def _layer(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))))


def _draw_lesion(number: int, label: str, skin: np.ndarray) -> np.ndarray:
    """One lesion on its skin: (CANVAS, CANVAS, 3) float32, RGB in [0, 1]."""
    look = lesion_traits(number, label)
    brush = _Brush(Stream.of(TEXTURE_STREAM, number))
    edge = _outline(look, brush.stream)
    inside = _sigmoid((edge - DISTANCE + look["patchy"] * brush.noise(11)) / look["blur"])
    relative = np.clip(DISTANCE / edge, 0, 1)
    reach = look["radius"]

    melanin = 1 + look["colours"] * brush.noise(5) + look["mottle"] * brush.noise(28)
    melanin = look["pigment"] * np.clip(melanin + look["centre"] * (0.5 - relative), 0.05, None)
    melanin += look["network"] * _honeycomb(brush) * (0.4 + 0.6 * relative)
    melanin += look["globules"] * brush.dots(24, reach, 1.2, 2.6, 0.6)
    blood = look["flush"] * (1 + 0.6 * brush.noise(9))
    blood += look["vessels"] * brush.threads(9, reach, 0.9 * reach, 1.2, 0.7)
    blue = look["veil"] * _sigmoid(8 * (brush.noise(4) - 0.15))
    blue += look["ovoids"] * brush.dots(6, 0.8 * reach, 2.5, 6, 1.6)
    lacunae = look["lacunae"] * brush.dots(26, 0.9 * reach, 3, 5.5, 0.8)
    blood += 1.1 * lacunae
    blue += 0.25 * lacunae * (1 + brush.noise(6))

    white = look["scar"] * np.exp(-((relative / 0.5) ** 2)) * (0.8 + 0.4 * brush.noise(20))
    white += look["scale"] * _sigmoid(9 * (brush.noise(24) - 0.3))
    white += look["follicles"] * brush.dots(40, reach, 0.9, 1.6, 0.5)
    white += look["cysts"] * brush.dots(14, 0.9 * reach, 1.2, 2.4, 0.6)

    sun = look["sun"] * np.clip(brush.noise(13) + 0.1, 0, 1)
    texture = 0.05 * brush.noise(7) + 0.05 * brush.noise(70)
    tints = _layer(0.82 + 0.36 * brush.stream.uniform(9).reshape(3, 3))
    light = (inside * melanin + 0.12 * sun + texture)[..., None] * (MELANIN * tints[0])
    light += (inside * blood + 0.25 * sun)[..., None] * (BLOOD * tints[1])
    light += (inside * blue)[..., None] * (BLUE * tints[2])
    canvas = skin * np.exp(-light)
    cover = np.clip(inside * white, 0, 0.85)[..., None]
    canvas += cover * (WHITE - canvas)
    return _hair(_layer(canvas), number)


def _outline(look: Look, stream: Stream) -> np.ndarray:
    """Distance (CANVAS, CANVAS) from the centre to the border in the direction of each pixel."""
    angle = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    draws = stream.uniform(16)
    outline = 1 + 0.22 * draws[0] * np.cos(2 * (angle - 2 * np.pi * draws[1]))
    for harmonic in range(1, 8):
        height, phase = 2 * draws[2 * harmonic] - 1, 2 * np.pi * draws[2 * harmonic + 1]
        ripple = look["border"] * height * np.cos(harmonic * angle + phase)
        outline += 1.5 * ripple / harmonic
    return _layer((look["radius"] * np.clip(outline, 0.35, 1.8))[DIRECTION])


def _honeycomb(brush: _Brush) -> np.ndarray:
    """The pigment network: walls of warped hexagons about seven pixels wide, in [0, 1]."""
    pitch, turn = (np.array((5.5, 0)) + (3, np.pi) * brush.stream.uniform(2)).tolist()
    x, y = RIGHT + 4 * brush.noise(12), DOWN + 4 * brush.noise(12)
    waves = np.zeros_like(x)
    for angle in (turn, turn + np.pi / 3, turn + 2 * np.pi / 3):
        across, along = np.cos(angle) * 2 * np.pi / pitch, np.sin(angle) * 2 * np.pi / pitch
        waves += np.cos(x * np.float32(across) + y * np.float32(along))
    return _layer(np.clip((1.2 - waves) / 2.7, 0, 1))


def _hair(canvas: np.ndarray, number: int) -> np.ndarray:
    """Draw hair over HAIR_PERCENT of the lesions, thin or thick, few or many."""
    brush = _Brush(Stream.of(HAIR_STREAM, number))
    if not brush.stream.chance(HAIR_PERCENT):
        return canvas
    count = 2 + brush.stream.pick((1,) * 14)
    strength = 0.5 + 0.9 * float(brush.stream.uniform(1)[0])
    cover = np.clip(strength * brush.threads(count, 85, 130, 0.35, 0.55), 0, 0.85)[..., None]
    return _layer(canvas + cover * (HAIR - canvas))


def _draw_view(canvas: np.ndarray, number: int, source: str) -> np.ndarray:
    """One photograph of a canvas: (HEIGHT, WIDTH, 3) uint8, BGR."""
    stream = Stream.of(VIEW_STREAM, number)
    turn, zoom, right, down, gain, slope, way = (2 * stream.uniform(7) - 1).tolist()
    matrix = cv2.getRotationMatrix2D((CANVAS / 2, CANVAS / 2), 30 * turn, 1 + 0.1 * zoom)
    matrix[:, 2] += (WIDTH / 2 - CANVAS / 2 + 8 * right, HEIGHT / 2 - CANVAS / 2 + 6 * down)
    view = cv2.warpAffine(canvas, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    light = 1 + 0.08 * gain + 0.06 * slope * (x * np.cos(np.pi * way) + y * np.sin(np.pi * way))
    cast = 1 + 0.06 * (stream.uniform(3) - 0.5)
    view = view * (light[..., None] * cast)
    if stream.chance(VIGNETTE_PERCENT.get(source, 0)):
        radius = 68 + 6 * stream.uniform(1)[0]
        view *= _sigmoid((radius - np.hypot(64 * x, 48 * y)) / 1.5)[..., None]
    if stream.chance(RULER_PERCENT.get(source, 0)):
        view *= 1 - 0.8 * _ruler(stream)[..., None]
    grain = stream.uniform(HEIGHT * WIDTH * 3).reshape(view.shape) - 0.5
    return np.asarray(np.clip(255 * (view + 0.04 * grain), 0, 255), np.uint8)[..., ::-1]


def _ruler(stream: Stream) -> np.ndarray:
    """Ticks of a ruler along one edge, every fifth longer: (HEIGHT, WIDTH) in [0, 1]."""
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    pitch, tilt = 5 + 2 * stream.uniform(1)[0], 0.2 * (stream.uniform(1)[0] - 0.5)
    for tick in range(int(WIDTH / pitch) + 1):
        x, y = tick * pitch, 2 + tilt * (tick * pitch - WIDTH / 2) + 4
        end = (_fixed(x), _fixed(y + (9 if tick % 5 == 0 else 5)))
        cv2.line(layer, (_fixed(x), _fixed(y)), end, 255, 1, cv2.LINE_AA, 4)
    if stream.chance(50):
        layer = layer[::-1]
    return _layer(layer) / 255


COLUMN_NAMES = {"label": "dx", "source": "dataset"}


def synthetic_manifest() -> Dataset:
    """The synthetic dataset without images: draws no pixel and opens no file."""
    return Dataset(
        name="synthetic",
        title="synthetic dermatoscopy",
        classes=synthetic_cohort.CLASSES,
        table=synthetic_cohort.cohort_table(),
        synthetic=True,
        native_size=(WIDTH, HEIGHT),
        licence="MIT, as this project",
        citation="Synthetic images drawn by a program of this project, without any patient, lesion "
        "or photograph. Results on them say nothing about skin.",
        malignant=synthetic_cohort.MALIGNANT,
    )


def open_synthetic(cache: Path | None = None, *, images: bool = True) -> OpenDataset:
    """The synthetic dataset; draws the images unless the cache has all of them.

    cache   root of the cache; default: $BENCH_CACHE or the cache folder of the user
    images  False: metadata only; nothing is drawn or written

    Drawing takes some seconds. Raises DataError if the cache cannot be written.
    """
    dataset = synthetic_manifest()
    folder = (cache or cache_folder()) / "synthetic" / version()
    if images:
        try:
            ensure_folder(folder, lambda scratch: _draw(scratch, dataset.table))
        except OSError as error:
            raise DataError(
                f"{folder}: the synthetic images cannot be written ({error.strerror}); "
                "set BENCH_CACHE to a writable folder"
            ) from None
    return OpenDataset(dataset, folder)


def version() -> str:
    """Short hash of everything that determines the images: the program, NumPy and OpenCV."""
    program = sorted(Path(__file__).parent.glob("synthetic*.py"))
    parts = [path.read_bytes() for path in program]
    parts += [np.__version__.encode(), cv2.__version__.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _draw(folder: Path, table: pd.DataFrame) -> None:
    images = folder / "images"
    images.mkdir()
    for image_id, pixels in draw_images(table):
        png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        (images / f"{image_id}.png").write_bytes(png.tobytes())
    metadata = table.drop(columns="group_id", errors="ignore").rename(columns=COLUMN_NAMES)
    metadata.to_csv(folder / "metadata.csv", index=False, lineterminator="\n")
