"""A folder of unlabelled images, checked for leakage from the val and test images of a protocol.

An unlabelled copy of a test image in the training data would be leakage. So the unlabelled images
are compared with the val and test images of all folds: by file name, and by the search for near
duplicates (`bench.data.duplicates.near`). Further photographs of a tested lesion are not detected.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bench.data.duplicates.near import SURE, find_near_duplicates
from bench.data.images import SUFFIXES, find_images, loader
from bench.data.open import OpenDataset
from bench.dataset import Dataset, Record
from bench.errors import DataError, listing

NAME = "unlabelled"


def open_unlabelled(folder: Path) -> OpenDataset:
    """The JPEG and PNG files in a folder and below; the image id is the stem of the file name.

    Raises DataError if there is none.
    """
    if not folder.is_dir():
        raise DataError(
            f"--unlabelled {folder}: no such folder; use a folder with JPEG or PNG files"
        )
    names = {path.stem for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    if not names:
        raise DataError(f"--unlabelled {folder}: no JPEG or PNG file in this folder or below")
    records = [Record(image_id=name, label=NAME) for name in sorted(names)]
    return OpenDataset(Dataset.from_records(NAME, (NAME,), records), folder)


def refuse_leaks(unlabelled: OpenDataset, source: OpenDataset, held_out: Collection[str]) -> str:
    """Raise DataError that names all unlabelled images that are copies of `held_out` images.

    Returns a sentence with the numbers of compared images and the pairs to review.
    """
    ids = set(unlabelled.manifest.image_ids.tolist())
    same = sorted(ids & set(held_out))
    if same:
        raise DataError(
            f"--unlabelled {unlabelled.folder}: {len(same)} images have the ids of val or test "
            f"images: {listing(same)}; remove them"
        )
    both = Dataset.from_records(
        "both",
        (NAME,),
        [
            Record(image_id=f"{side}/{image_id}", label=NAME, group_id=side)
            for side, members in ((NAME, ids), ("asked", set(held_out)))
            for image_id in members
        ],
    )
    labelled = find_images(source)
    files = {f"{NAME}/{name}": path for name, path in find_images(unlabelled).items()}
    files |= {f"asked/{name}": labelled[name] for name in held_out}
    found = find_near_duplicates(both, loader(files))
    copies, doubtful = (
        [
            f"{pair.image_b.partition('/')[2]} is {pair.image_a.partition('/')[2]}"
            for pair in found.pairs
            if (pair.verdict == SURE) == sure
        ]
        for sure in (True, False)
    )
    if copies:
        raise DataError(
            f"--unlabelled {unlabelled.folder}: {len(copies)} images are copies of val or test "
            f"images: {listing(copies)}; remove them"
        )
    review = f"; please review: {listing(doubtful)}" if doubtful else ""
    return (
        f"{len(ids)} unlabelled images: no copy of the {len(held_out)} val and test images "
        f"({found.method}){review}"
    )
