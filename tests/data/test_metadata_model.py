"""A classifier of metadata: out of fold, blind to pictures, no wiser than its columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.data.exploration import metadata_rows
from bench.dataset import Dataset
from bench.folds.kinds import freeze
from bench.protocol import Roles
from tests.folds.cohorts import protocol_of, random_manifest, small_split


def drawn(manifest: Dataset) -> Roles:
    return freeze(manifest, small_split(folds=3))


def test_every_test_image_is_predicted_once_by_a_model_that_never_saw_its_label():
    manifest = random_manifest(0)
    roles, protocol = drawn(manifest), protocol_of(small_split(folds=3))
    rows = metadata_rows(manifest, roles, protocol)
    for row in rows:
        ids = np.concatenate([made.image_ids for made in row.test.values()])
        assert sorted(ids.tolist()) == manifest.image_ids.tolist()
    # other labels in the test part of fold 0 change nothing of its predictions
    table = manifest.table.copy()
    test = roles.rows(0, "test")
    table.loc[test, "label"] = np.roll(table.loc[test, "label"].to_numpy(), 7)
    table["lesion_id"] = None
    again = metadata_rows(replace(manifest, table=table), roles, protocol)
    for one, other in zip(rows, again, strict=True):
        slot = min(one.test)
        assert np.array_equal(one.test[slot].probs, other.test[slot].probs)


def test_a_column_that_gives_the_class_away_is_found_out():
    manifest = random_manifest(1)
    table = manifest.table.assign(source=manifest.table["label"])
    told = replace(manifest, table=table)
    roles = drawn(told)
    rows = {row.name: row for row in metadata_rows(told, roles, protocol_of(small_split(folds=3)))}
    made = rows["source alone"].test[min(rows["source alone"].test)]
    assert (made.probs.argmax(axis=1) == told.labels[roles.rows(0, "test")]).all()
    assert "diagnosis type alone" not in rows, "no image has one"
