"""The public API: docstring examples, inputs of every kind, numbers against scikit-learn."""

from __future__ import annotations

import doctest
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score, roc_auc_score
from sklearn.model_selection import cross_validate

import bench
from bench.errors import BenchError, DataError, PredictionError, ProtocolError
from bench.workflows.events import Progress, Steps

CLASSES = ("akiec", "bcc", "mel", "nv")


@pytest.fixture(scope="module")
def b() -> bench.Bench:
    return bench.open("groupkfold5")


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (N,), probabilities (N, 4) that know something of them, and groups of some images."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 300)
    probs = rng.dirichlet(np.ones(4), 300)
    probs[np.arange(300), truth] += 0.5
    return truth, probs / probs.sum(axis=1, keepdims=True), rng.integers(0, 90, 300)


def test_every_example_of_a_docstring_runs():
    import bench.api

    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner()
    examples = [t for t in finder.find(bench.api, globs={"bench": bench}) if t.examples]
    for example in examples:
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
    named = {example.name.removeprefix("bench.api.") for example in examples}
    assert {"open", "evaluate", "compare", "Bench", "Bench.folds", "Bench.splitter"} <= named


def test_importing_is_fast_and_loads_neither_pandas_nor_torch():
    code = (
        "import sys, time; begun = time.process_time(); import bench; "
        "assert time.process_time() - begun < 0.3; "
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_and_no_other():
    assert set(bench.__all__) <= set(dir(bench))
    assert all(getattr(bench, name) is not None for name in bench.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        bench.nothing  # noqa: B018


def test_evaluate_equals_scikit_learn(drawn):
    truth, probs, groups = drawn
    found = bench.evaluate(truth, probs, groups, classes=CLASSES, resamples=200)
    called = probs.argmax(axis=1)
    expected = {
        "accuracy": accuracy_score(truth, called),
        "balanced_accuracy": recall_score(truth, called, average="macro"),
        "macro_f1": f1_score(truth, called, average="macro"),
        "macro_auc": roc_auc_score(truth, probs, multi_class="ovr"),
        "log_loss": log_loss(truth, probs),
    }
    for metric, value in expected.items():
        assert found[metric].value == pytest.approx(value, abs=1e-12)
        assert found[metric].low < value < found[metric].high
    by_class = recall_score(truth, called, average=None)
    assert [found["recall", name].value for name in CLASSES] == pytest.approx(by_class)


@pytest.mark.parametrize("form", ["names", "integers", "lists", "series", "frame", "torch"])
def test_evaluate_takes_every_form_of_the_same_data(drawn, form):
    truth, probs, groups = drawn
    names = [CLASSES[code] for code in truth]
    index = [f"ISIC_{n}" for n in range(len(truth))]
    frame = pd.DataFrame(probs, columns=[f"p_{name}" for name in CLASSES], index=index)
    if form == "torch":
        torch = pytest.importorskip("torch")
        given = (torch.tensor(truth), torch.tensor(probs), torch.tensor(groups), CLASSES)
    else:
        given = {
            "names": (names, probs, groups, CLASSES),
            "integers": (truth, probs, groups, CLASSES),
            "lists": (truth.tolist(), probs.tolist(), groups.tolist(), list(CLASSES)),
            "series": (pd.Series(names), pd.DataFrame(probs), pd.Series(groups), CLASSES),
            "frame": (pd.Series(names, index=index), frame, groups, None),
        }[form]
    found = bench.evaluate(*given, resamples=200)
    reference = bench.evaluate(names, probs, groups, CLASSES, resamples=200)
    assert found.classes == CLASSES
    assert found["macro_f1"] == reference["macro_f1"]
    assert found.groups == len(set(groups.tolist()))


def test_two_classes_take_the_probability_of_the_second():
    truth, second = [0, 0, 1, 1, 1], np.array([0.1, 0.6, 0.8, 0.4, 0.9])
    one = bench.evaluate(truth, second, resamples=100)
    both = bench.evaluate(truth, np.stack([1 - second, second], axis=1), resamples=100)
    assert one["auc", "1"] == both["auc", "1"]
    assert one["auc", "1"].value == pytest.approx(roc_auc_score(truth, second))
    assert one["accuracy"].value == pytest.approx(0.6)


def test_labels_that_are_integers_by_value_are_classes_by_value():
    probs = np.array([[0.8, 0.2], [0.3, 0.7], [0.9, 0.1]])
    found = bench.evaluate([3, 5, 3], probs, classes=[3, 5], resamples=100)
    assert found.classes == ("3", "5")
    assert found["accuracy"].value == 1


def test_a_class_without_images_is_undefined_and_not_zero():
    probs = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.9, 0.05, 0.05]])
    found = bench.evaluate([0, 1, 0], probs, resamples=100)
    assert np.isnan(found["recall", "2"].value)
    assert found["recall", "2"].n == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda y, p, g: (y[:-1], p, g), "300 images|299"),
        (lambda y, p, g: (y, p[:, :3], g), "classes"),
        (lambda y, p, g: (y, p, g[:-1]), "groups has 299"),
        (lambda y, p, g: (y, p * 2, g), "do not sum to 1"),
        (lambda y, p, g: (y, np.where(p == p.max(), np.nan, p), g), "not finite"),
        (lambda y, p, g: (y, p - 0.5, g), "negative"),
        (lambda y, p, g: (np.where(y == 3, 9, y), p, g), "unknown labels 9"),
        (lambda y, p, g: (np.append(y[:-1].astype(float), np.nan), p, g), "y_true: 1 missing"),
        (lambda y, p, g: (y, p, np.append(g[:-1].astype(float), np.nan)), "groups: 1 missing"),
        (lambda y, p, g: (y.reshape(30, 10), p, g), "y_true has the shape"),
        (lambda _, p, g: ([], p, g), "y_true is empty"),
        (lambda y, _, g: (y, [["a", "b"]] * 300, g), "not numbers"),
        (lambda _, p, g: (["nevus"] * 300, p, g), "unknown labels nevus"),
    ],
)
def test_wrong_input_is_one_clear_error(drawn, change, named):
    with pytest.raises(PredictionError, match=named) as raised:
        bench.evaluate(*change(*drawn), classes=CLASSES, resamples=100)
    assert "\n" not in str(raised.value)


def test_unknown_metrics_and_settings_are_refused(drawn):
    truth, probs, groups = drawn
    with pytest.raises(PredictionError, match="macro_f2"):
        bench.evaluate(truth, probs, groups, metrics=["macro_f2"])
    with pytest.raises(PredictionError, match="resamples=5"):
        bench.evaluate(truth, probs, groups, resamples=5)
    with pytest.raises(PredictionError, match="level=95"):
        bench.evaluate(truth, probs, groups, level=95)
    with pytest.raises(PredictionError, match="4 columns"):
        bench.evaluate(["a", "b"] * 150, probs, groups)


def test_a_slip_in_an_argument_of_evaluate_is_explained(drawn):
    truth, probs, groups = drawn
    with pytest.raises(PredictionError, match=r"\['accuracy'\]"):
        bench.evaluate(truth, probs, groups, metrics="accuracy")
    with pytest.raises(PredictionError, match='"a": pa'):
        bench.compare(truth, [probs, probs], groups)
    found = bench.evaluate(truth, probs, groups, CLASSES, metrics=["recall"], resamples=100)
    assert "recall akiec" in repr(found)
    with pytest.raises(KeyError, match=r"\('recall', CLASS\)"):
        found["recall"]


def test_pandas_objects_in_another_order_are_refused_and_not_mixed_up(drawn):
    truth, probs, _ = drawn
    labels = pd.Series(truth, index=[f"i{n}" for n in range(300)])
    frame = pd.DataFrame(probs, index=labels.index[::-1])
    with pytest.raises(PredictionError, match="different indexes"):
        bench.evaluate(labels, frame, resamples=100)


def test_an_evaluation_shows_itself(drawn):
    truth, probs, groups = drawn
    found = bench.evaluate(
        truth, probs, groups, CLASSES, metrics=["accuracy", "auc"], resamples=100
    )
    frame = found.to_frame()
    assert frame["metric"].tolist() == ["accuracy", "auc", "auc", "auc", "auc"]
    assert frame["value"][0] == found["accuracy"].value
    assert pd.io.json.ujson_loads(found.to_json())["estimates"][0]["value"] == pytest.approx(
        found["accuracy"].value
    )
    assert "300 images" in repr(found)
    assert found._repr_html_().count("<tr>") == 6
    with pytest.raises(KeyError, match="accuracy"):
        found["accurcy"]


def test_named_columns_are_brought_into_the_order_of_the_classes(drawn):
    truth, probs, groups = drawn
    names = [CLASSES[code] for code in truth]
    frame = pd.DataFrame(probs, columns=list(CLASSES))
    expected = bench.evaluate(names, probs, groups, CLASSES, resamples=100)["macro_f1"]
    turned = frame[list(CLASSES[::-1])]
    for given, classes in ((turned, None), (turned, CLASSES), (turned.add_prefix("p_"), None)):
        found = bench.evaluate(names, given, groups, classes, resamples=100)
        assert found["macro_f1"].value == pytest.approx(expected.value)
    by_number = pd.DataFrame(probs[:, ::-1], columns=[3, 2, 1, 0])
    found = bench.evaluate(truth, by_number, groups, resamples=100)
    assert found["macro_f1"].value == pytest.approx(expected.value)
    pair = bench.compare(names, {"a": frame, "b": turned}, groups, resamples=100).pairs[0]
    assert pair.differences.metrics["accuracy"].value == 0


def test_classes_of_an_estimator_are_values(drawn):
    truth, probs, _ = drawn
    order = [3, 2, 1, 0]
    listed = bench.evaluate(truth, probs, classes=order, resamples=100)["accuracy"].value
    array = bench.evaluate(truth, probs, classes=np.array(order), resamples=100)["accuracy"].value
    assert listed == array == accuracy_score(truth, np.array(order)[probs.argmax(axis=1)])


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (lambda f: f.add_prefix("p_").assign(fold=0), "fold"),
        (lambda f: f.assign(image_id="a"), "image_id"),
        (lambda f: f.rename(columns={"nv": "nevus"}), "nevus"),
        (lambda f: f.rename(columns={"nv": "nevus/mole"}), "nevus/mole"),
        (lambda f: (f * 100).round(0), "divide each row by its sum"),
    ],
)
def test_columns_that_are_not_the_classes_are_named(drawn, frame, named):
    truth, probs, _ = drawn
    given = frame(pd.DataFrame(probs, columns=list(CLASSES)))
    with pytest.raises(PredictionError, match=named):
        bench.evaluate([CLASSES[code] for code in truth], given, resamples=100)


@pytest.mark.parametrize("margin", [2, -0.1, float("nan"), "0.1"])
def test_a_margin_outside_the_metric_is_refused(drawn, margin):
    truth, probs, _ = drawn
    with pytest.raises(PredictionError, match="margin"):
        bench.compare(truth, {"a": probs, "b": probs}, margin=margin, resamples=100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"jobs": 0},
        {"jobs": "2"},
        {"threads": 0},
        {"device": "mps"},
        {"seeds": -1},
        {"seeds": 1.5},
        {"folds": "0"},
        {"overrides": ["epochs"]},
        {"methods": None},
    ],
)
def test_a_wrong_run_option_is_refused_before_any_training(b, tmp_path, wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))):
        b.run(**{"methods": "custom_cnn", "results": tmp_path, **wrong})


def test_wider_groups_give_wider_intervals():
    rng = np.random.default_rng(2)
    lesion = np.repeat(np.arange(60), 5)
    truth = np.repeat(rng.integers(0, 2, 60), 5)
    right = np.repeat(rng.random(60) < 0.8, 5)
    probs = np.where(right, truth * 0.8 + 0.1, 0.9 - truth * 0.8)
    alone = bench.evaluate(truth, probs, resamples=2000)["accuracy"]
    grouped = bench.evaluate(truth, probs, lesion, resamples=2000)["accuracy"]
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.7 * (alone.high - alone.low)


def test_compare_is_paired(drawn):
    truth, probs, groups = drawn
    worse = 0.5 * probs + 0.5 * probs[::-1]
    found = bench.compare(truth, {"a": probs, "b": worse}, groups, CLASSES, resamples=500)
    pair = found.pairs[0]
    difference = pair.differences.metrics["macro_f1"]
    a, b = (
        bench.evaluate(truth, each, groups, CLASSES, resamples=500)["macro_f1"].value
        for each in (probs, worse)
    )
    assert difference.value == pytest.approx(a - b)
    assert difference.low < difference.value < difference.high
    with pytest.raises(PredictionError, match="two sets"):
        bench.compare(truth, {"a": probs}, groups)


def test_folds_hold_every_image_once_in_test_and_no_group_twice(b):
    tested: list[str] = []
    for fold in b.folds():
        assert "label" not in fold.test
        parts = [set(part["group_id"]) for part in (fold.train, fold.val, fold.test)]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        assert fold.train["path"].map(lambda path: path.endswith(".png")).all()
        assert fold.train["path"].map(lambda path: Path(path).is_absolute()).all()
        tested += fold.test["image_id"].tolist()
    assert sorted(tested) == b.dataset.image_ids.tolist()


def test_the_splitter_serves_scikit_learn_in_any_order_of_the_images(b):
    table = b.dataset.table.sample(frac=1, random_state=3)
    labels = table["label"].to_numpy()
    features = table[["image_id"]].assign(zero=0)
    found = cross_validate(
        DummyClassifier(), features, labels, cv=b.splitter(), scoring="balanced_accuracy"
    )
    assert len(found["test_score"]) == b.splitter().get_n_splits() == 5
    group = dict(zip(b.roles.image_ids, b.roles.group_ids, strict=True))
    ids = table["image_id"].to_numpy()
    for train, test in b.splitter().split(features):
        assert not {group[i] for i in ids[train]} & {group[i] for i in ids[test]}
    without = next(iter(b.splitter(with_val=False).split(features)))
    assert len(without[0]) < len(next(iter(b.splitter().split(features)))[0])
    more = pd.concat([features, features.assign(image_id=features["image_id"] + "x")])
    with pytest.raises(DataError, match="1253 images that are not in the dataset"):
        next(b.splitter().split(more))
    with pytest.raises(DataError, match="7 rows"):
        next(b.splitter().split(np.zeros((7, 1))))


def test_a_bench_is_opened_or_says_what_does_not_fit(b, tmp_path):
    assert repr(b) == "Bench(groupkfold5 on synthetic, 1253 images)"
    assert b.dataset.classes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    with pytest.raises(BenchError, match="groupkfold6"):
        bench.open("groupkfold6")
    with pytest.raises(DataError, match=str(tmp_path)):
        bench.open("groupkfold5", tmp_path)


def test_columns_of_a_table_have_the_names_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8)).save(folder / f"i{number}.png")
    (folder / "list.csv").write_text("File,Dx\ni0.png,nv\ni1.png,mel\ni2.png,nv\ni3.png,nv\n")
    columns = {"image": "File", "label": "Dx"}
    with pytest.raises(ProtocolError, match="no frozen roles for 'own'"):  # the table was read
        bench.open("groupkfold5", "~/own", columns=columns, malignant=["mel"])
    with pytest.raises(DataError, match="benign"):
        bench.open("groupkfold5", folder, columns=columns, malignant=["benign"])
    with pytest.raises(DataError, match="picture"):
        bench.open("groupkfold5", folder, columns={"picture": "File"})


def test_steps_are_counted_when_threads_report_them():
    events: list[Progress] = []
    step = Steps(events.append, "images", 2000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: step(), range(2000)))
    assert [event.done for event in events] == list(range(1, 2001))


def test_predictions_of_a_frame_become_a_row_that_is_scored_and_compared(b, tmp_path, capsys):
    rng = np.random.default_rng(4)
    probs = rng.dirichlet(np.ones(7), len(b.dataset))
    probs[np.arange(len(probs)), b.dataset.labels] += 0.5
    frame = pd.DataFrame(
        probs / probs.sum(axis=1, keepdims=True), columns=[f"p_{c}" for c in b.dataset.classes]
    ).assign(image_id=b.dataset.image_ids)
    b.submit(frame, "mine", tmp_path, pretraining_data="none")
    b.submit(frame.set_index("image_id"), "again", tmp_path, pretraining_data="none")
    unnamed = frame.set_index(b.dataset.image_ids).drop(columns="image_id")
    b.submit(unnamed, "third", tmp_path, pretraining_data="none")
    with pytest.raises(PredictionError, match=r"^predictions: missing columns: p_akiec"):
        b.submit(frame[["image_id"]], "fourth", tmp_path)
    board = b.score(tmp_path)
    expected = f1_score(b.dataset.labels, probs.argmax(axis=1), average="macro")
    row = next(row for row in board.rows if row.name == "mine")
    assert row.table.metrics["macro_f1"].value == pytest.approx(expected)
    difference = b.compare("mine", "again", results=tmp_path).pairs[0].differences
    assert difference.metrics["macro_f1"].value == 0
    report = b.report(tmp_path)
    assert len(repr(report)) < 300
    site = bench.publish(b, tmp_path.with_name(f"{tmp_path.name}-site"), tmp_path)
    assert site.index.is_file()
    assert report.page.is_file()
    assert (report.page.parent / "leaderboard.json").is_file()
    with pytest.raises(PredictionError, match="mine"):
        b.submit(frame, "mine", tmp_path)
    assert board["mine"] is row
    assert "<html" in board.html()
    with pytest.raises(KeyError, match="mine"):
        board["mien"]
    with pytest.raises(BenchError, match="no such folder"):
        b.score(tmp_path / "typo")
    with pytest.raises(BenchError, match="jobs"):
        b.run(job=2)
    assert capsys.readouterr().out == ""


def test_a_run_reports_events_and_is_not_done_twice(b, tmp_path, capsys):
    events: list[object] = []
    options = {"overrides": {"epochs": 1, "image_size": 18}, "folds": [0], "results": tmp_path}
    result = b.run(["custom_cnn"], **options, on_event=events.append, device="cpu")
    assert result.failed == ()
    assert len(result.outcomes) == 1
    kinds = {type(event).__name__ for event in events}
    assert {"Progress", "JobStarted", "JobEpoch", "JobEnded"} <= kinds
    assert b.run("custom_cnn", **options, device="cpu").outcomes == ()
    assert capsys.readouterr().out == ""
    predictor = bench.load_predictor(tmp_path)
    fold = next(b.folds())
    assert repr(predictor) == "EnsemblePredictor(1 models, 7 classes)"
    (prediction,) = predictor.predict(fold.test["path"][:1].tolist())
    assert prediction.probs.sum() == pytest.approx(1)


def test_a_failed_job_is_named_with_its_fault(b, tmp_path):
    method = tmp_path / "broken.py"
    method.write_text(
        '"""Broken."""\n\nfrom bench.method import Method, Recipe\n\n\ndef fit_predict(task):\n'
        '    raise RuntimeError("no model here")\n\n\n'
        'METHOD = Method("broken", Recipe(image_size=16), fit_predict)\n'
    )
    result = b.run(method, folds=[0], results=tmp_path / "results", device="cpu")
    assert len(result.failed) == 1
    assert "broken, fold 0: RuntimeError: no model here" in repr(result)
