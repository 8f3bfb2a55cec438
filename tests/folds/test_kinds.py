"""What each kind of split promises, over many random cohorts, worked out the slow way."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from bench.dataset import Dataset, Record
from bench.errors import ProtocolError, RolesError
from bench.folds.kinds import freeze
from bench.folds.verify import absent_classes, verify
from bench.protocol import PARTS, Protocol, Roles, parse_protocol
from tests.folds.cohorts import protocol_of, random_manifest, small_split

TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))
CURVE = {
    "kind": "learning-curve",
    "arms": {
        "100%": [f"fold{k}" for k in range(5)],
        "50%": [f"fold{k}" for k in range(5, 10)],
        "20%": [f"fold{k}" for k in range(10, 15)],
    },
}
METER = {
    "kind": "leakage-meter",
    "folds": 2,
    "stratify": ["label", "source"],
    "control": True,
    "arms": {"clean": ["fold0", "fold1"], "leaky": ["fold2", "fold3"]},
}
HOLDOUT = {"kind": "holdout", "folds": 1, "test": 0.2}
SOURCES = {"kind": "source-holdout", "folds": 2, "stratify": ["label", "sex"]}
SEEDS = range(8)


def drawn(seed: int, changes: dict[str, object], **more: int) -> tuple[Dataset, Protocol, Roles]:
    manifest = random_manifest(seed, **more)
    protocol = protocol_of(small_split(**changes, seed=seed))
    return manifest, protocol, freeze(manifest, protocol.split)


def groups_of(roles: Roles, column: int, part: int) -> set[str]:
    return set(roles.group_ids[roles.parts[:, column] == part].tolist())


def test_whole_groups_in_every_kind_that_is_no_control() -> None:
    for seed in SEEDS:
        for changes in (CURVE, HOLDOUT, SOURCES, {"folds": 10}, {"repeats": 3}):
            manifest, protocol, roles = drawn(seed, changes, patients=100)
            for column in range(roles.columns):
                sides = [groups_of(roles, column, part) for part in (TRAIN, VAL, TEST)]
                assert all(not a & b for a, b in zip(sides, sides[1:] + sides[:1], strict=True))
            if changes is not SOURCES:
                verify(roles, manifest, protocol)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_holdout_has_its_shares(seed: int) -> None:
    manifest, protocol, roles = drawn(seed, HOLDOUT, patients=150)
    shares = [(roles.parts[:, 0] == part).mean() for part in (TRAIN, VAL, TEST)]
    assert np.abs(np.array(shares) - [0.7, 0.1, 0.2]).max() < 0.01
    assert f"{shares[2]:.1%} of the images are test" in verify(roles, manifest, protocol)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_source_is_tested_whole_and_its_groups_teach_nothing(seed: int) -> None:
    manifest, _, roles = drawn(seed, SOURCES)
    sources = manifest.table["source"].to_numpy()
    for column, source in enumerate(("here", "there")):
        tested = roles.parts[:, column] == TEST
        assert (tested == (sources == source)).all()
        others = np.isin(roles.group_ids, roles.group_ids[tested]) & ~tested
        assert others.any()
        assert (roles.parts[others, column] == 0).all()
        assert (roles.parts[~others, column] > 0).all()
    assert ((roles.parts == TEST).sum(axis=1) == 1).all()


def test_classes_that_a_source_lacks_must_be_declared_and_no_others() -> None:
    records = [
        Record(
            f"I{at:03d}", "df" if at < 12 else "nv", f"L{at:03d}", source="ab"[at % 2 or at < 12]
        )
        for at in range(80)
    ]
    manifest = Dataset.from_records("odd", ("df", "nv"), records)
    # every df is of source b: no df in test of a's fold, and none left to learn from in b's
    split = small_split(**SOURCES)
    roles = freeze(manifest, split)
    assert absent_classes(roles, manifest)["fold0.test"] == ["df"]
    text = (
        'name = "p"\ntitle = "P"\n'
        '[split]\nkind = "source-holdout"\nfolds = 2\nseed = 1\nval = 0.1\n'
        f'[roles.odd]\nfile = "odd.csv"\nsha256 = "{"0" * 64}"\n'
    )
    with pytest.raises(RolesError, match="no image of df in test of fold 0"):
        verify(roles, manifest, parse_protocol(text, "p"))
    places = ", ".join(f'"{place}" = ["df"]' for place in absent_classes(roles, manifest))
    declared = parse_protocol(f"{text}absent = {{ {places} }}\n", "p")
    assert "declared: no df in test of fold 0" in verify(roles, manifest, declared)
    wrong = parse_protocol(f'{text}absent = {{ {places}, "fold1.test" = ["nv"] }}\n', "p")
    with pytest.raises(RolesError, match="images of nv, which are declared absent"):
        verify(roles, manifest, wrong)


def test_sources_must_be_known_and_as_many_as_folds() -> None:
    manifest = random_manifest(0)
    with pytest.raises(ProtocolError, match="has 2 sources: here, there; freeze a new .*--folds 2"):
        freeze(manifest, small_split(**SOURCES | {"folds": 4}))
    table = manifest.table.copy()
    table.loc[3, "source"] = None
    with pytest.raises(ProtocolError, match="1 images have no source"):
        freeze(replace(manifest, table=table), small_split(**SOURCES))
    table["source"] = "here"
    with pytest.raises(ProtocolError, match="all images have one source, here; .* two or more"):
        freeze(replace(manifest, table=table), small_split(**SOURCES))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_control_divides_groups_and_tests_every_image_once(seed: int) -> None:
    manifest, protocol, roles = drawn(seed, {"kind": "imagekfold", "control": True})
    assert ((roles.parts == TEST).sum(axis=1) == 1).all()
    assert groups_of(roles, 0, TRAIN) & groups_of(roles, 0, TEST)
    assert len(set(roles.group_ids)) < len(manifest), "the bootstrap still resamples groups"
    verify(roles, manifest, protocol)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_arms_of_a_learning_curve_differ_in_training_groups_alone(seed: int) -> None:
    _, protocol, roles = drawn(seed, CURVE, patients=120)
    for fold in range(5):
        whole, half, fifth = (groups_of(roles, fold + first, TRAIN) for first in (0, 5, 10))
        assert fifth < half < whole
        assert abs(len(half) / len(whole) - 0.5) < 0.06
        assert abs(len(fifth) / len(whole) - 0.2) < 0.06
        for first in (5, 10):
            for part in (VAL, TEST):
                same = (roles.parts[:, fold] == part) == (roles.parts[:, fold + first] == part)
                assert same.all()
            kept = groups_of(roles, fold + first, TRAIN)
            own = np.isin(roles.group_ids, list(kept))
            assert (roles.parts[own, fold + first] == TRAIN).all(), "groups are kept whole"
    assert protocol.folds == roles.columns == 15


@pytest.mark.parametrize("seed", range(20))
def test_the_leakage_meter_measures_leakage_alone(seed: int) -> None:
    manifest, protocol, roles = drawn(seed, METER, patients=100)
    kinds = list(zip(manifest.table["label"], manifest.table["source"], strict=True))
    for clean, leaky in ((0, 2), (1, 3)):
        for part in (VAL, TEST):
            same = (roles.parts[:, clean] == part) == (roles.parts[:, leaky] == part)
            assert same.all()
        tested = np.flatnonzero(roles.parts[:, clean] == TEST)
        assert len({roles.group_ids[row] for row in tested}) == len(tested), "one image a group"
        teaching = {arm: np.flatnonzero(roles.parts[:, arm] == TRAIN) for arm in (clean, leaky)}
        siblings = defaultdict(set)
        for arm, rows in teaching.items():
            for row in rows:
                siblings[arm].add((roles.group_ids[row], kinds[row]))
        for row in tested:
            assert (roles.group_ids[row], kinds[row]) in siblings[leaky]
            assert roles.group_ids[row] not in groups_of(roles, clean, TRAIN)
        counts = [Counter(kinds[row] for row in rows) for rows in teaching.values()]
        assert counts[0] == counts[1], "as many images of each class and source"
        assert len(groups_of(roles, clean, TRAIN)) == len(groups_of(roles, leaky, TRAIN))
        for arm in (clean, leaky):
            outside = groups_of(roles, arm, TRAIN) | groups_of(roles, arm, TEST)
            assert not groups_of(roles, arm, VAL) & outside
    assert not groups_of(roles, 0, TEST) & groups_of(roles, 1, TEST)
    verify(roles, manifest, protocol)


def test_without_siblings_there_is_no_leakage_to_measure() -> None:
    records = [Record(f"I{at}", ("mel", "nv")[at % 2], f"L{at}") for at in range(30)]
    manifest = Dataset.from_records("alone", ("mel", "nv"), records)
    with pytest.raises(RolesError, match="leakage cannot be measured without siblings"):
        freeze(manifest, small_split(**METER))


def break_meter(roles: Roles, how: str) -> Roles:
    parts = roles.parts.copy()
    tested = roles.group_ids[np.flatnonzero(parts[:, 0] == TEST)[0]]
    own = roles.group_ids == tested
    if how == "lost sibling":
        parts[own & (parts[:, 2] == TRAIN), 2] = 0
    elif how == "sibling in clean":
        parts[own & (parts[:, 2] == TRAIN), 0] = TRAIN
    elif how == "one more":
        parts[np.flatnonzero(parts[:, 2] == 0)[0], 2] = TRAIN
    elif how == "other val":
        parts[np.flatnonzero(parts[:, 2] == VAL)[0], 2] = 0
    elif how == "val group":
        group = roles.group_ids[np.flatnonzero(parts[:, 2] == TRAIN)[0]]
        parts[np.flatnonzero(parts[:, 2] == VAL)[0], [0, 2]] = VAL
        groups = roles.group_ids.copy()
        groups[np.flatnonzero(parts[:, 2] == VAL)[0]] = group
        return replace(roles, parts=parts, group_ids=groups)
    return replace(roles, parts=parts)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("lost sibling", "has no sibling in train of fold 2"),
        ("sibling in clean", "in train and test of fold 0"),
        ("one more", "differ in their number of images"),
        ("other val", "is val in only one of fold 0 .arm clean. and fold 2 .arm leaky."),
        ("val group", "more than one group_id|in train and val of fold"),
    ],
)
def test_a_meter_that_measures_something_else_is_refused(how: str, said: str) -> None:
    manifest, protocol, roles = drawn(1, METER, patients=100)
    with pytest.raises(RolesError, match=said):
        verify(break_meter(roles, how), manifest, protocol)


def test_a_curve_whose_arms_are_not_nested_is_refused() -> None:
    manifest, protocol, roles = drawn(1, CURVE, patients=100)
    parts = roles.parts.copy()
    dropped = np.flatnonzero((parts[:, 0] == TRAIN) & (parts[:, 5] == 0))[0]
    own = roles.group_ids == roles.group_ids[dropped]
    parts[own, 10] = TRAIN
    with pytest.raises(RolesError, match="is train in arm 20% but not in 50%"):
        verify(replace(roles, parts=parts), manifest, protocol)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ('kind = "holdout"', "split.folds: holdout needs one fold"),
        ('kind = "holdout"\nfolds = 1', "split.test: holdout needs a share"),
        ('kind = "groupkfold"\nfolds = 1', "split.folds: groupkfold needs two folds or more"),
        ('kind = "groupkfold"\ntest = 0.2', "split.test: holdout needs a share"),
        ('kind = "holdout"\nfolds = 1\ntest = 0.95', "leave no train part"),
        ('kind = "imagekfold"', "split.control: must be true"),
        ('kind = "learning-curve"', "split.arms: learning-curve needs arms"),
        ('kind = "groupkfold"\narms = { a = ["fold0", "fold1"] }', "groupkfold has no arms"),
        ('kind = "learning-curve"\narms = { "50%" = ["fold0", "fold1"] }', "100% first"),
        ('kind = "learning-curve"\narms = { whole = ["fold0", "fold1"] }', "100% first"),
        ('kind = "learning-curve"\narms = { "100%" = ["fold0"] }', "each arm needs 2 columns"),
        ('kind = "learning-curve"\narms = { "100%" = ["fold1", "fold0"] }', "list fold0, fold1"),
        (
            'kind = "leakage-meter"\ncontrol = true\narms = { a = ["fold0", "fold1"] }',
            "needs the arms clean and leaky with 2 folds each",
        ),
        (
            'kind = "learning-curve"\nrepeats = 2\narms = { "100%" = ["fold0", "fold1"] }',
            "split.repeats: must be 1 with arms",
        ),
        ('kind = "magic"', "split.kind"),
    ],
)
def test_a_split_that_contradicts_itself_is_refused_in_one_line(changes: str, said: str) -> None:
    folds = "" if "folds =" in changes else "folds = 2\n"
    text = f'name = "p"\ntitle = "P"\n[split]\n{folds}seed = 1\nval = 0.1\n{changes}\n'
    with pytest.raises(ProtocolError, match=said) as caught:
        parse_protocol(text, "p.toml")
    assert str(caught.value).startswith("p.toml: ")
    assert "\n" not in str(caught.value)
