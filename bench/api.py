"""The public functions: what notebooks and scripts import as `bench`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.open import DatasetSpec
from bench.data.readers.csv_table import parse_columns
from bench.errors import DataError, MethodError, PredictionError, ResultsError, suggest
from bench.settings import DEFAULT_RESULTS
from bench.workflows.events import Event, ignore
from bench.workflows.open import OpenBench, open_bench

if TYPE_CHECKING:
    import pandas as pd

    from bench.leaderboard import ComparisonReport, Leaderboard
    from bench.train.predictor import EnsemblePredictor
    from bench.workflows.evaluate import Evaluation
    from bench.workflows.open import Fold, ProtocolSplitter
    from bench.workflows.publish import Site
    from bench.workflows.report import Report
    from bench.workflows.run import Overrides, RunResult

OnEvent = Callable[[Event], None]
AnyPath = str | Path


@dataclass(frozen=True, repr=False)
class Bench(OpenBench):
    """A protocol on a dataset, proven to belong together; made by `bench.open`.

    >>> b = bench.open("groupkfold5")
    >>> b.dataset.classes
    ('akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc')
    >>> b.score().verdict  # doctest: +ELLIPSIS
    '...'
    """

    spec: DatasetSpec = field(default_factory=DatasetSpec)

    def __repr__(self) -> str:
        return f"Bench({self.protocol.name} on {self.dataset.name}, {len(self.dataset)} images)"

    def folds(self) -> Iterator[Fold]:
        """Every fold with `train`, `val` and `test`: DataFrames, one line an image.

        Columns: image_id, absolute path (None where the dataset has no image files), group_id, age
        in years, sex, localization, and label in train and val; test has no label. The synthetic
        dataset draws its images at the first use.

        >>> fold = next(bench.open("groupkfold5").folds())
        >>> "label" in fold.train, "label" in fold.test
        (True, False)
        """
        from bench.workflows.open import folds

        return folds(self._with_images())

    def splitter(self, *, with_val: bool = True) -> ProtocolSplitter:
        """A scikit-learn splitter for `cross_validate(cv=...)`, one split a fold.

        with_val  whether val images count as training images; False leaves them out

        `split(X)` takes one row an image: a DataFrame with the column or index `image_id` in any
        order, or rows in the order of `dataset.image_ids`.

        >>> bench.open("groupkfold5").splitter().get_n_splits()
        5
        """
        from bench.workflows.open import ProtocolSplitter

        return ProtocolSplitter(self, with_val=with_val)

    def run(
        self,
        methods: AnyPath | Sequence[AnyPath] = (),
        overrides: Overrides | None = None,
        seeds: int | Sequence[int] | None = None,
        folds: int | Sequence[int] | None = None,
        results: AnyPath = DEFAULT_RESULTS,
        on_event: OnEvent | None = None,
        **options: object,
    ) -> RunResult:
        """Train methods on every fold; finished jobs are skipped.

        methods    names or paths of method files, or one of them; empty: the three baselines
        overrides  recipe options, such as {"epochs": 8}; the row is then named method@hash
        seeds, folds  None: the protocol's seeds, all folds
        on_event   called with events of `bench.workflows.events`: progress, epochs, job ends
        options    further fields of `bench.workflows.run.RunOptions`, such as jobs=2, device="cpu"

        Raises BenchError before any training where an option or a method is wrong. A failed job
        stops no other; see `RunResult.failed`.
        """
        from bench.workflows.run import RunOptions, run

        known = [field.name for field in fields(RunOptions)]
        for name in options:
            if name not in known:
                raise MethodError(f"run: unknown option {name!r}{suggest(name, known)}")
        given = [methods] if isinstance(methods, str | Path) else methods
        if not isinstance(given, Iterable):
            raise MethodError(f"methods={methods!r}: give names or paths of method files")
        chosen = RunOptions(
            data=self.spec,
            methods=tuple(str(method) for method in given),
            results=Path(results),
            seeds=_numbers(seeds),
            folds=_numbers(folds),
            variants=({} if overrides is None else overrides,),
            **options,  # type: ignore[arg-type]
        )
        return run(self._with_images(), chosen, on_event or ignore)

    def score(
        self, results: AnyPath = DEFAULT_RESULTS, on_event: OnEvent | None = None
    ) -> Leaderboard:
        """Score every row of a results folder, the committed and the reference rows.

        Writes nothing. The Leaderboard has `.to_frame()`, `.to_json()`, `.html()` and `.verdict`.
        Raises ResultsError for a folder that does not exist, unless it is the default.
        """
        from bench.workflows.report import score

        return score(self, _existing(results), on_event or ignore)

    def submit(
        self,
        predictions: pd.DataFrame | AnyPath,
        name: str,
        results: AnyPath = DEFAULT_RESULTS,
        *,
        origin: str = "not stated",
        licence: str = "not stated",
        pretraining_data: str = "undeclared",
        models: int | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Add out-of-fold predictions made elsewhere as the row `name`; give its folder.

        predictions  DataFrame, CSV or Parquet: image_id (column or index) and p_<class> of every
                     class, every test image once (once a repeat, with a column `fold`, where
                     there are several)
        origin, licence   text shown with the row
        models            number of separately trained models, at least one for each fold; without
                          it only the models are compared, not the method
        pretraining_data  data that the model saw before, "none" for none; an undeclared row is
                          not ranked
        overwrite         replace an earlier submission of this name

        Raises PredictionError that names the first offenders.
        """
        from bench.workflows.submit import Origin, submit, submit_frame

        for key, value in (("name", name), ("pretraining_data", pretraining_data)):
            if not isinstance(value, str):
                raise PredictionError(f"{key}={value!r}: give text")
        stated = Origin(origin, licence, pretraining_data, models)
        if isinstance(predictions, str | Path):
            return submit(self, Path(predictions), name, Path(results), stated, replace=overwrite)
        if not hasattr(predictions, "columns"):
            kind = type(predictions).__name__
            raise PredictionError(f"predictions: give a DataFrame or a file, not {kind}")
        return submit_frame(self, predictions, name, Path(results), stated, replace=overwrite)

    def compare(
        self,
        *rows: str,
        metric: str | None = None,
        margin: float | None = None,
        rope: float = 0.01,
        baseline: str = "",
        all_pairs: bool = False,
        results: AnyPath = DEFAULT_RESULTS,
    ) -> ComparisonReport:
        """Compare two rows or more on the same images. Writes nothing.

        rows    names of rows, or of methods that have one row
        margin  also test whether the first row of a pair is non-inferior by this much
        baseline   row that the others are compared with; default: the best of them
        all_pairs  compare all pairs instead

        Raises PredictionError for unknown rows.
        """
        from bench.workflows.compare import compare_rows

        return compare_rows(
            self,
            rows,
            _existing(results),
            metric=metric,
            margin=margin,
            rope=rope,
            baseline=baseline,
            all_pairs=all_pairs,
        )

    def report(self, results: AnyPath = DEFAULT_RESULTS, on_event: OnEvent | None = None) -> Report:
        """Score every row and write the leaderboard's pages; give their address as `.page`."""
        from bench.workflows.report import report

        return report(self, Path(results), on_event=on_event or ignore)

    def _with_images(self) -> OpenBench:
        """The same with images: the synthetic dataset draws them when first needed."""
        return replace(self, source=self.spec.open(images=True))


def _numbers(given: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Seeds or folds as RunOptions takes them."""
    if given is None:
        return None
    return tuple(given) if isinstance(given, Iterable) else (given,)


def _existing(results: AnyPath) -> Path:
    """The results folder. Raises ResultsError if it is named and does not exist."""
    folder = Path(results)
    if folder != DEFAULT_RESULTS and not folder.is_dir():
        raise ResultsError(f"results={str(results)!r}: no such folder")
    return folder


def open(  # noqa: A001 - bench.open is the name users expect
    protocol: str,
    data: AnyPath | None = None,
    *,
    dataset_name: str | None = None,
    groups: AnyPath | None = None,
    columns: Mapping[str, str] | None = None,
    layout: str | None = None,
    malignant: Sequence[str] = (),
) -> Bench:
    """Open a protocol on a dataset; prove that the frozen roles fit the data and leak nothing.

    protocol      name, such as "groupkfold5"; see `lesion-bench protocol list`
    data          folder of the dataset, or a file of arrays; None: the embedded synthetic dataset
    dataset_name  short name of the dataset, where its source has none
    groups        CSV with image_id and patient_id (or lesion_id, group_id)
    columns       columns of a CSV table by content, such as {"image": "file", "label": "dx"}; the
                  keys are image, label, group, patient, lesion, age, sex, site, source
    layout        metadata layout, where the folder holds several
    malignant     malignant classes; empty: those that the dataset is known for

    Raises ProtocolError, DataError or RolesError that name what does not fit.

    >>> bench.open("groupkfold5")
    Bench(groupkfold5 on synthetic, 1253 images)
    """
    for key, value, kinds in (
        ("data", data, str | Path | None),
        ("groups", groups, str | Path | None),
        ("columns", columns, Mapping | None),
    ):
        if not isinstance(value, kinds):
            raise DataError(f"{key}={value!r}: {type(value).__name__} is not what it takes")
    if isinstance(malignant, str):
        raise DataError(f"malignant={malignant!r}: give a list, such as [{malignant!r}]")
    spec = DatasetSpec(
        None if data is None else Path(data).expanduser(),
        dataset_name,
        None if groups is None else Path(groups).expanduser(),
        parse_columns(",".join(f"{key}={column}" for key, column in (columns or {}).items())),
        layout,
        tuple(malignant),
    )
    opened = open_bench(protocol, spec)
    return Bench(opened.protocol, opened.source, opened.roles, opened.proven, spec)


def evaluate(
    y_true: object,
    probs: object,
    groups: object = None,
    classes: Sequence[Hashable] | None = None,
    metrics: Sequence[str] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Evaluation:
    """Metrics of predictions with cluster-bootstrap intervals, from plain arrays.

    y_true   (N,) class names or integers: list, array, Series or torch tensor
    probs    (N, C) probabilities, rows sum to 1; a DataFrame's columns name the classes;
             (N,) is the probability of the second of two classes
    groups   (N,) patient or lesion of each image; images of a group are resampled together.
             None: every image is its own group
    classes  C names in the order of the columns; default: the DataFrame's columns, 0 to C-1 for
             integers, else the sorted labels
    metrics  names to show; default: all

    Intervals: BCa cluster bootstrap over groups (Field & Welsh 2007; Efron 1987). Undefined values
    are NaN with their n. Raises PredictionError that names what is wrong.

    >>> y, p = [0, 0, 1, 1, 1, 0], [0.1, 0.4, 0.8, 0.7, 0.4, 0.2]
    >>> ev = bench.evaluate(y, p, groups=["a", "a", "b", "b", "c", "d"], resamples=200)
    >>> round(ev["accuracy"].value, 3)
    0.833
    """
    from bench.workflows.evaluate import evaluate

    return evaluate(y_true, probs, groups, classes, metrics, resamples, level)


def compare(
    y_true: object,
    probs: Mapping[str, object],
    groups: object = None,
    classes: Sequence[Hashable] | None = None,
    metric: str = "macro_f1",
    margin: float | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
) -> ComparisonReport:
    """Paired differences between sets of predictions on the same images, with intervals.

    probs   (N, C) probabilities by name, such as {"a": pa, "b": pb}; other inputs as in `evaluate`
    metric  metric of the verdict
    margin  also test whether the first of a pair is non-inferior by this much

    Intervals: paired cluster bootstrap, both on the same resampled groups. Raises PredictionError.

    >>> y, p = [0, 0, 1, 1, 1, 0], [0.1, 0.4, 0.8, 0.7, 0.4, 0.2]
    >>> q = [0.6, 0.4, 0.8, 0.7, 0.4, 0.2]
    >>> c = bench.compare(y, {"a": p, "b": q}, metric="accuracy", resamples=200)
    >>> round(c.pairs[0].differences.metrics["accuracy"].value, 3)
    0.167
    """
    from bench.workflows.evaluate import compare_arrays

    return compare_arrays(y_true, probs, groups, classes, metric, margin, resamples, level)


def publish(
    benches: Bench | Sequence[Bench],
    to: AnyPath,
    results: AnyPath = DEFAULT_RESULTS,
    *,
    with_images: bool = False,
    on_event: OnEvent | None = None,
) -> Site:
    """Make a static site of the leaderboards of one bench or several.

    to           a new or empty folder, or one that `publish` made
    with_images  show small copies of some images; without it the site holds no image

    Raises ResultsError for a folder that holds other files, DataError without a bench.
    """
    from bench.workflows.publish import publish

    given = [benches] if isinstance(benches, Bench) else list(benches)
    if not given:
        raise DataError("publish: give a bench, or several")
    return publish(
        Path(to),
        list({each.dataset.name: each.spec for each in given}.values()),
        Path(results),
        pairs={(each.protocol.name, each.dataset.name) for each in given},
        with_images=with_images,
        on_event=on_event or ignore,
    )


def load_predictor(
    checkpoints: AnyPath | Sequence[AnyPath], device: str = "cpu", *, calibrated: bool = True
) -> EnsemblePredictor:
    """Load trained models: a best.safetensors, or a folder of results whose models are averaged.

    device      "cpu", "cuda", or "auto" for the GPU if there is one
    calibrated  temperature-scaled probabilities, as fitted on val

    `.predict(images)` takes paths, PIL images or uint8 RGB arrays (H, W, 3). Loads torch. Raises
    ResultsError for a file that is not a checkpoint, MethodError for a missing device.
    """
    from bench.train.predictor import load_predictor as load
    from bench.workflows.artifacts import find_checkpoints

    given = [checkpoints] if isinstance(checkpoints, str | Path) else list(checkpoints)
    files = find_checkpoints([Path(path) for path in given])
    return load(files, device, calibrated=calibrated)
