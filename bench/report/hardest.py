"""The lesions that a row does worst on, image by image, with pictures where they are asked for."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from bench.closeup import Closeup, HardImage
from bench.report.names import Name, name
from bench.report.numbers import fixed, probability


@dataclass(frozen=True, slots=True)
class Pictured:
    """An image as a small JPEG, and the same under the map of the called class; b"" for none."""

    image: bytes
    cam: bytes = b""


@dataclass(frozen=True, slots=True)
class HardLine:
    """An image of a lesion: what it is, what it was called, how sure."""

    image: Name
    fold: str
    truth: Name
    truth_swatch: str
    called: Name
    called_swatch: str
    right: bool
    p_truth: str
    p_called: str
    loss: str
    picture: str
    cam: str
    alt: str


@dataclass(frozen=True, slots=True)
class HardLesionView:
    """A lesion with all its tested images."""

    lesion: Name
    group: Name | None
    loss: str
    images: tuple[HardLine, ...]


@dataclass(frozen=True, slots=True)
class Hardest:
    """The worst lesions, and whether any picture of them is there."""

    lesions: tuple[HardLesionView, ...]
    pictures: bool
    cams: bool


def hardest(
    look: Closeup, colours: Mapping[str, str], pictures: Mapping[str, Pictured]
) -> Hardest | None:
    """The worst lesions of a row; None where nobody looked for them. pictures: by image id."""
    if not look.hardest:
        return None
    lesions = tuple(
        HardLesionView(
            lesion=name(one.lesion_id),
            group=None if one.group_id == one.lesion_id else name(one.group_id),
            loss=fixed(one.loss, 2),
            images=tuple(
                _line(image, colours, pictures.get(image.image_id)) for image in one.images
            ),
        )
        for one in look.hardest
    )
    shown = [line for one in lesions for line in one.images]
    return Hardest(lesions, any(one.picture for one in shown), any(one.cam for one in shown))


def _line(image: HardImage, colours: Mapping[str, str], shown: Pictured | None) -> HardLine:
    truth, called = name(image.label, 24), name(image.called, 24)
    return HardLine(
        image=name(image.image_id),
        fold=str(image.fold),
        truth=truth,
        truth_swatch=colours[image.label],
        called=called,
        called_swatch=colours[image.called],
        right=image.label == image.called,
        p_truth=probability(image.p_label),
        p_called=probability(image.p_called),
        loss=fixed(image.loss, 2),
        picture=data_uri(shown.image) if shown else "",
        cam=data_uri(shown.cam) if shown else "",
        alt=f"{name(image.image_id).short}, {truth.short}, called {called.short}",
    )


def data_uri(jpeg: bytes) -> str:
    """A picture to stand in the page itself; "" for none."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""


def images_to_picture(look: Closeup) -> list[HardImage]:
    """The images of the hardest lesions."""
    return [image for lesion in look.hardest for image in lesion.images]
