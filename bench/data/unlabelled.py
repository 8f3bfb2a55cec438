"""A folder of images without labels, proven apart from what a protocol tests and chooses by.

An unlabelled image that is also a test image would teach what is asked later. So each is compared
with all images that any fold tests or chooses by: by its file's name, and by the search for copies
(`bench.data.duplicates.near`). Further photographs of a tested lesion are not found by it.
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
    """The JPEG and PNG files anywhere below a folder; an image's id is its name's stem.

    Raises DataError where there is none.
    """
    if not folder.is_dir():
        raise DataError(f"--unlabelled {folder}: no such folder; give one of JPEG or PNG files")
    names = {path.stem for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    if not names:
        raise DataError(f"--unlabelled {folder}: no JPEG or PNG file below this folder")
    records = [Record(image_id=name, label=NAME) for name in sorted(names)]
    return OpenDataset(Dataset.from_records(NAME, (NAME,), records), folder)


def refuse_leaks(unlabelled: OpenDataset, source: OpenDataset, asked: Collection[str]) -> str:
    """Raise DataError that names every unlabelled image which is one of the dataset's `asked` ones.

    Gives what has been compared, and pairs that are doubtful, in a sentence.
    """
    mine = set(unlabelled.manifest.image_ids.tolist())
    same = sorted(mine & set(asked))
    if same:
        raise DataError(
            f"--unlabelled {unlabelled.folder}: {len(same)} images bear the names of images that "
            f"are tested or chosen by: {listing(same)}; remove them"
        )
    both = Dataset.from_records(
        "both",
        (NAME,),
        [
            Record(image_id=f"{side}/{image_id}", label=NAME, group_id=side)
            for side, ids in ((NAME, mine), ("asked", set(asked)))
            for image_id in ids
        ],
    )
    theirs = find_images(source)
    files = {f"{NAME}/{name}": path for name, path in find_images(unlabelled).items()}
    files |= {f"asked/{name}": theirs[name] for name in asked}
    found = find_near_duplicates(both, loader(files))
    told = {
        verdict: [
            f"{pair.image_b.partition('/')[2]} is {pair.image_a.partition('/')[2]}"
            for pair in found.pairs
            if (pair.verdict == SURE) == verdict
        ]
        for verdict in (True, False)
    }
    if told[True]:
        raise DataError(
            f"--unlabelled {unlabelled.folder}: {len(told[True])} images are copies of images that "
            f"are tested or chosen by: {listing(told[True])}; remove them"
        )
    doubtful = f"; to be looked at: {listing(told[False])}" if told[False] else ""
    return (
        f"{len(mine)} unlabelled images: no copy of the {len(asked)} images that are tested or "
        f"chosen by ({found.method}){doubtful}"
    )
