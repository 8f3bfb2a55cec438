"""Committed rows: readable, whole, predicted for exactly the images that the fold tests."""

import itertools

import numpy as np
import pandas as pd
import pytest

from bench.calibrate import OpinionPool
from bench.io import sha256_of
from bench.job import parse_record
from bench.run.published import KEPT
from bench.run.registry import load_method
from tests.conftest import ROOT

COMMITTED = ROOT / "baselines" / "results"
RECORDS = sorted(COMMITTED.glob("*/*/*/seed*/**/record.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: "/".join(p.parts[-4:-1]))
def test_a_committed_record_is_read_and_vouches_for_its_predictions(path):
    record = parse_record(path.read_text(encoding="utf-8"), str(path))
    job = record.job
    assert not record.git_dirty
    assert path.relative_to(COMMITTED).parts[:3] == (job.protocol, job.dataset, job.row)
    for name in ("predictions.parquet", "val_predictions.parquet"):
        assert sha256_of(path.with_name(name)) == record.files[name]
    roles = pd.read_csv(ROOT / "protocols" / job.protocol / f"{job.dataset}.csv", comment="#")
    part = roles[f"fold{job.column}"]
    for name, meant in (("predictions", "test"), ("val_predictions", "val")):
        predicted = pd.read_parquet(path.with_name(f"{name}.parquet"))["image_id"]
        assert sorted(predicted) == sorted(roles.loc[part == meant, "image_id"])


def test_of_a_job_there_is_nothing_but_what_makes_a_committed_row():
    found = [path for path in COMMITTED.glob("*/*/*/seed*/**/*") if path.is_file()]
    assert {path.name for path in found} <= set(KEPT)
    for path in found:
        if path.name == "history.csv":
            record = parse_record(path.with_name("record.json").read_text("utf-8"), str(path))
            assert sha256_of(path) == record.files["history.csv"], path


def is_ensemble(path):
    return bool(parse_record(path.read_text(encoding="utf-8"), str(path)).job.members)


@pytest.mark.parametrize(
    "path", list(filter(is_ensemble, RECORDS)), ids=lambda p: "/".join(p.parts[-4:-1])
)
def test_a_committed_ensemble_is_its_committed_members_by_its_weights(path):
    record = parse_record(path.read_text(encoding="utf-8"), str(path))
    weights = record.facts["weights"]
    row = path.parents[2]
    for name in ("predictions.parquet", "val_predictions.parquet"):
        own = pd.read_parquet(path.with_name(name)).set_index("image_id")
        members = [
            pd.read_parquet(row.parent / member / path.parent.relative_to(row) / name)
            .set_index("image_id")
            .loc[own.index, own.columns]
            .to_numpy()
            for member in weights
        ]
        pool = OpinionPool(record.job.variant["pool"], np.array(list(weights.values())))
        np.testing.assert_allclose(own, pool(np.stack(members)), atol=2e-5)


@pytest.mark.parametrize(
    "path", list(itertools.filterfalse(is_ensemble, RECORDS[::5])), ids=lambda p: p.parts[-4]
)
def test_a_committed_row_was_made_by_the_method_as_it_stands(path):
    job = parse_record(path.read_text(encoding="utf-8"), str(path)).job
    loaded = load_method(job.method, ROOT / "baselines")
    assert job.method_source == loaded.source_sha256
    assert job.recipe == loaded.method.recipe.with_overrides(
        {name: value for name, value in job.variant.items() if name not in {"files", "weights"}}
    )
