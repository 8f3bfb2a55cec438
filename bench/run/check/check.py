"""`method check`: run the probes and judge them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.data.open import OpenDataset
from bench.data.preprocess import preprocessing
from bench.errors import MethodError, listing
from bench.job import Job, JobFile, JobLocation
from bench.method import Recipe
from bench.run.check.probe import (
    BATCH_PER_CLASS,
    FOLDS,
    LOG,
    OUTCOME,
    Cohort,
    Outcome,
    Probe,
    begun_seconds,
    has_history,
    small_cohort,
    watch,
)
from bench.run.check.verdicts import ProbeResults, Verdict, verdicts_of
from bench.run.registry import installed_methods, method_names

QUICK = {"epochs": 2, "batch_size": 16}
MEMORISING: dict[str, Any] = {
    "accumulate": 1, "lookahead": False, "weight_decay": 0.0, "schedule": "constant",
    "warmup_epochs": 0.0, "freeze_epochs": 0, "unfreeze_epochs": 0, "dropout": 0.0,
    "drop_path": None, "sampler_power": 0.0, "rare_augment": 0.0, "class_weight_power": 0.0,
    "class_weight_beta": 0.0, "class_loss_scale": {}, "logit_adjustment": 0.0,
    "label_smoothing": 0.0, "loss": "cross_entropy", "cutmix_prob": 0.0, "mixup_prob": 0.0,
    "hflip": 0.0, "vflip": 0.0, "rotation": 0.0, "scale": 0.0, "brightness": 0.0, "contrast": 0.0,
    "saturation": 0.0, "hue": 0.0, "auto_augment": "none", "erasing_prob": 0.0, "ema_decay": None,
    "early_stopping": None, "tta": "none",
}  # fmt: skip
"""Options that switch off everything that prevents memorising one batch: model, optimizer and
learning rate remain."""
STEPS, EPOCHS = 24, 60
"""Epochs to memorise one batch, by the engine and by other methods. An epoch of the engine is one
step on the whole batch; resampled batches would change the batch norm statistics each time."""
SAFE_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass
class Checkup:
    """The check of one method.

    method  name or FILE.py
    folder  an empty folder for the files of the check
    report  receives the name of each probe before it starts
    """

    method: str
    baselines: Path
    folder: Path
    image_size: int = 32
    seconds: float = 60.0
    memory_gib: float = 8.0
    report: Callable[[str], None] = lambda _: None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)

    def verdicts(self, source: OpenDataset) -> Iterator[Verdict]:
        """Yield whether the method can be imported; then, if so, all other verdicts."""
        described = self._watch(self._probe("import"))
        if not described.ok:
            fault = described.fault or f"did not end within {described.seconds:.0f} s"
            yield Verdict("imports", passed=False, message=fault)
            return
        method = described.described
        engine = "trained by the bench's engine" if method["engine"] else "with its own training"
        yield Verdict("imports", passed=True, message=f"{method['name']}, {engine}")
        self.outcomes.clear()
        cohort = small_cohort(source, self.folder / "data")
        self._run_all(cohort, method)
        yield from verdicts_of(
            ProbeResults(cohort, self.outcomes, self.changed, bool(method["engine"]))
        )

    def _run_all(self, cohort: Cohort, method: Mapping[str, Any]) -> None:
        quick = Recipe.model_validate(method["recipe"]).with_overrides(
            QUICK | {"image_size": self.image_size}
        )
        inputs = _Inputs(cohort)

        def run(name: str, change: str = "none", column: int = 0, **options: Any) -> Outcome:
            recipe = quick.with_overrides(options.pop("overrides", {}))
            probe = self._probe(name, folder=options.pop("folder", name))
            job_file = self._job_file(cohort, method, recipe, column, probe.folder, inputs)
            outcome = self._watch(replace(probe, job_file=job_file, change=change), **options)
            self.changed[name] = inputs.restore()
            return outcome

        first = run("fold 0")
        if not first.ok:
            return
        for fold in range(1, FOLDS):
            run(f"fold {fold}", column=fold)
        run("again")
        run("shuffled", "shuffled")
        run("halved", "halved")
        run("permuted labels", "permuted")
        batch = {"batch_size": BATCH_PER_CLASS * len(cohort.dataset.classes)}
        steps = {"epochs": STEPS if method["engine"] else EPOCHS}
        run("one batch", "one batch", overrides=MEMORISING | batch | steps)
        tested = cohort.roles.image_ids[cohort.roles.rows(0, "test")]
        cohort.write_metadata(swapped=tested)
        inputs.accept_metadata()
        run("altered test labels")
        cohort.write_metadata()
        inputs.accept_metadata()
        half = first.described["seconds"] / 2

        def midway(probe: Probe) -> bool:
            return has_history(probe) or begun_seconds(probe) > half

        run("stopped", stop_when=midway)
        run("resumed", folder="stopped")

    def _probe(self, name: str, folder: str = "") -> Probe:
        environment = SAFE_THREADS | {
            "BENCH_DATA": str(self.folder / "data"),  # a job never has it: catches its use
            "BENCH_CACHE": str(self.folder / "cache"),
        }
        place = self.folder / "probes" / (folder or name).replace(" ", "_")
        return Probe(
            name=name,
            method=self.method,
            baselines=self.baselines,
            folder=place,
            environment=environment,
            seconds=self.seconds,
            memory_gib=self.memory_gib,
        )

    def _watch(self, probe: Probe, stop_when: Callable[[Probe], bool] | None = None) -> Outcome:
        self.report(probe.name)
        _rename_log(probe.folder)
        self.outcomes[probe.name] = watch(probe, lambda: stop_when is not None and stop_when(probe))
        return self.outcomes[probe.name]

    def _job_file(
        self,
        cohort: Cohort,
        method: Mapping[str, Any],
        recipe: Recipe,
        column: int,
        folder: Path,
        inputs: _Inputs,
    ) -> JobFile:
        dataset = cohort.dataset
        recipe.refuse_other_classes(dataset.classes)
        store, table = cohort.store(preprocessing(recipe)), cohort.table(column)
        inputs.add([store.folder / "pixels.npy", store.folder / "index.json", table])
        job = Job(
            protocol="check",
            dataset=dataset.name,
            row=method["name"],
            method=method["name"],
            recipe=recipe,
            method_source=method["source_sha256"],
            roles_sha256="",
            classes=dataset.classes,
            roster_sha256=dataset.roster_sha256,
            pixels_sha256=store.index.pixels_sha256,
            inputs_sha256=method["inputs_sha256"],
            seed=0,
            repeat=0,
            fold=column,
            column=column,
            threads=1,
        )
        place = JobLocation(
            method_file=method["address"],
            store=str(store.folder),
            fold_table=str(table),
            weights=None,
            folder=str(folder),
            device="cpu",
        )
        return JobFile(id=job.id, command="", job=job, place=place)


def _rename_log(folder: Path) -> None:
    """Rename the log of an earlier probe in this folder and remove its outcome."""
    (folder / OUTCOME).unlink(missing_ok=True)
    if (folder / LOG).exists():
        (folder / LOG).rename(folder / f"earlier_{LOG}")


class _Inputs:
    """Original contents of the files that a probe reads."""

    def __init__(self, cohort: Cohort) -> None:
        self.contents: dict[Path, bytes] = {}
        self.metadata = cohort.metadata
        self.add([cohort.metadata])

    def add(self, files: list[Path]) -> None:
        """Remember the contents of files, once."""
        for file in files:
            if file not in self.contents:
                self.contents[file] = file.read_bytes()

    def accept_metadata(self) -> None:
        """Take the present metadata as the original."""
        self.contents[self.metadata] = self.metadata.read_bytes()

    def restore(self) -> list[str]:
        """Restore the files that have changed; returns their names."""
        changed = []
        for file, content in self.contents.items():
            if not file.is_file() or file.read_bytes() != content:
                changed.append(file.name)
                file.write_bytes(content)
        return changed


def refuse_unknown(method: str, baselines: Path) -> None:
    """Raise MethodError for an unknown method, before a process is started."""
    known = [*method_names(baselines), *installed_methods()]
    if method.endswith(".py"):
        if not Path(method).is_file():
            raise MethodError(f"{method}: no such method file")
    elif method not in known:
        raise MethodError(f"unknown method {method!r}; known are {listing(known)}")
