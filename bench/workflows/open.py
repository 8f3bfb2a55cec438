"""Open a protocol on a dataset, prove that its folds fit and leak nothing; give the folds."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.data.images import look_for_images
from bench.data.open import DatasetSpec, OpenDataset
from bench.dataset import Dataset
from bench.errors import DataError, listing
from bench.protocol import Protocol, Roles, load_roles
from bench.run.submissions import SubmissionSpec
from bench.settings import PROTOCOLS
from bench.workflows.workspace import find_protocol


@dataclass(frozen=True)
class OpenBench:
    """A protocol on a dataset, proven to belong together.

    source  the dataset with the folder of its images
    roles   train, val or test of every image in every fold
    proven  what was proven of the roles, in sentences
    """

    protocol: Protocol
    source: OpenDataset
    roles: Roles
    proven: tuple[str, ...] = ()

    @property
    def dataset(self) -> Dataset:
        """Records of the dataset: image, lesion, patient, label and metadata."""
        return self.source.manifest

    @property
    def roles_sha256(self) -> str:
        """Hash of the frozen roles file."""
        return self.protocol.roles[self.dataset.name].sha256

    @property
    def submission_spec(self) -> SubmissionSpec:
        """What a submission to this protocol must hold."""
        protocol = self.protocol
        return SubmissionSpec(
            self.roles, self.dataset.classes, protocol.folds, protocol.run.seeds[0]
        )


def open_bench(
    protocol_name: str, data: DatasetSpec, *, images: bool = False, image_sizes: bool = False
) -> OpenBench:
    """Read the protocol, the dataset and the frozen roles; prove that they fit and leak nothing.

    images       whether the images are needed: the synthetic dataset draws them then
    image_sizes  read the size of every image file, for subgroups by it
    Raises BenchError that names what does not fit.
    """
    source = data.open(images=images or image_sizes)
    if image_sizes:
        from bench.data.images import with_image_sizes

        source = with_image_sizes(source)
    return prove_bench(protocol_name, source)


def prove_bench(protocol_name: str, source: OpenDataset) -> OpenBench:
    """Do the same for a dataset that is open already."""
    from bench.folds.verify import verify

    protocol = load_known_protocol(protocol_name)
    roles = load_roles(protocol, source.manifest.name, PROTOCOLS)
    roles.refuse_other_roster(source.manifest)
    proven = verify(roles, source.manifest, protocol)
    return OpenBench(protocol, source, roles, tuple(proven))


def load_known_protocol(name: str) -> Protocol:
    """Read a protocol. Raises ProtocolError for an unknown protocol or unknown metrics in it."""
    from bench.score.metrics import refuse_unknown

    protocol = find_protocol(name)
    refuse_unknown(
        (protocol.metrics.primary, *protocol.metrics.others), f"[metrics] of protocol {name}"
    )
    return protocol


VISIBLE = ("image_id", "path", "group_id", "age", "sex", "localization")


@dataclass(frozen=True)
class Fold:
    """One fold: train, val and test as DataFrames, one line an image; test has no label.

    index  fold column, from 0; repeats and arms follow one another
    """

    index: int
    train: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame

    def __repr__(self) -> str:
        sizes = f"{len(self.train)} train, {len(self.val)} val, {len(self.test)} test"
        return f"Fold({self.index}: {sizes})"


def folds(bench: OpenBench) -> Iterator[Fold]:
    """Every fold of the protocol, with the absolute path of each image that has a file."""
    dataset, roles = bench.dataset, bench.roles
    files = look_for_images(bench.source.folder, set(dataset.image_ids.tolist())).files
    table = dataset.table[["image_id", "age", "sex", "localization", "label"]].copy()
    paths = [str(files[each].absolute()) if each in files else None for each in dataset.image_ids]
    table["path"] = np.array(paths, dtype=object)
    table["group_id"] = roles.group_ids
    labelled = table[[*VISIBLE, "label"]]
    for index in range(roles.columns):
        train, val, test = (roles.rows(index, part) for part in ("train", "val", "test"))
        yield Fold(
            index,
            labelled.iloc[train].reset_index(drop=True),
            labelled.iloc[val].reset_index(drop=True),
            table.iloc[test][list(VISIBLE)].reset_index(drop=True),
        )


class ProtocolSplitter:
    """A scikit-learn splitter over the frozen folds: no group is in train and test of a split."""

    def __init__(self, bench: OpenBench, *, with_val: bool = True) -> None:
        self.bench = bench
        self.with_val = with_val

    def get_n_splits(
        self,
        X: object = None,
        y: object = None,
        groups: object = None,
    ) -> int:
        """Number of folds, over all repeats and arms."""
        return self.bench.roles.columns

    def split(
        self,
        X: object,
        y: object = None,
        groups: object = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions in X of the training and the test images of every fold.

        X  one row an image: a DataFrame with the column or index `image_id`, else rows in the order
           of the dataset. Raises DataError for a wrong number of rows, missing or unknown images.
        """
        place = self._places(X)
        roles = self.bench.roles
        for index in range(roles.columns):
            train = roles.rows(index, "train")
            if self.with_val:
                train = np.sort(np.concatenate([train, roles.rows(index, "val")]))
            yield place[train], place[roles.rows(index, "test")]

    def _places(self, images: object) -> np.ndarray:
        """Position in X of every image of the dataset (N,)."""
        ids = self.bench.roles.image_ids
        known: pd.Index | None = None
        if isinstance(images, pd.DataFrame) and "image_id" in images.columns:
            known = pd.Index(images["image_id"])
        elif isinstance(images, pd.DataFrame | pd.Series) and images.index.name == "image_id":
            known = images.index
        if known is None:
            count = len(images) if isinstance(images, Sized) else 0
            if count != len(ids):
                raise DataError(
                    f"X has {count} rows, the dataset {len(ids)} images; give one row an image, in "
                    "the order of dataset.image_ids, or a DataFrame with a column image_id"
                )
            return np.arange(count)
        if known.has_duplicates:
            raise DataError(
                f"X: image ids given twice: {listing(known[known.duplicated()].tolist())}"
            )
        place = known.get_indexer(pd.Index(ids))
        if (place < 0).any():
            missing = ids[place < 0].tolist()
            raise DataError(f"X lacks {len(missing)} images of the dataset: {listing(missing)}")
        if len(known) > len(ids):
            others = known.difference(pd.Index(ids)).tolist()
            raise DataError(
                f"X has {len(others)} images that are not in the dataset: {listing(others)}"
            )
        return np.asarray(place)
