"""`method check`: run the probes and judge them."""

from __future__ import annotations

import hashlib
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
from bench.run.check.verdicts import Findings, Verdict, judged
from bench.run.registry import installed_methods, method_names

QUICK = {"epochs": 2, "batch_size": 16}
BY_HEART: dict[str, Any] = {
    "accumulate": 1, "lookahead": False, "weight_decay": 0.0, "schedule": "constant",
    "warmup_epochs": 0.0, "freeze_epochs": 0, "unfreeze_epochs": 0, "dropout": 0.0,
    "drop_path": None, "sampler_power": 0.0, "rare_augment": 0.0, "class_weight_power": 0.0,
    "class_weight_beta": 0.0, "class_loss_scale": {}, "logit_adjustment": 0.0,
    "label_smoothing": 0.0, "loss": "cross_entropy", "cutmix_prob": 0.0, "mixup_prob": 0.0,
    "hflip": 0.0, "vflip": 0.0, "rotation": 0.0, "scale": 0.0, "brightness": 0.0, "contrast": 0.0,
    "saturation": 0.0, "hue": 0.0, "auto_augment": "none", "erasing_prob": 0.0, "ema_decay": None,
    "early_stopping": None, "tta": "none",
}  # fmt: skip
"""Nothing that keeps a training from learning one batch by heart: what is left is the model, the
optimizer and its learning rate."""
STEPS, EPOCHS = 24, 60
"""Of learning by heart: for the engine each is a step on the whole batch, and a state is kept after
it; with batches drawn anew, batch norm sees other images each time, and deep networks stumble."""
SAFE_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass
class Checkup:
    """A method being checked: a name or FILE.py, in a folder of the check's own.

    tell  hears the name of each probe before it starts
    """

    method: str
    baselines: Path
    folder: Path
    image_size: int = 32
    seconds: float = 60.0
    memory_gib: float = 8.0
    tell: Callable[[str], None] = lambda _: None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)

    def verdicts(self, source: OpenDataset) -> Iterator[Verdict]:
        """Whether it can be imported; then, if so, all other checks at once."""
        described = self._watch(self._probe("import"))
        if not described.ok:
            how = described.fault or f"did not end within {described.seconds:.0f} s"
            yield Verdict("imports", passed=False, said=how)
            return
        told = described.described
        by = "trained by the bench's engine" if told["engine"] else "trains itself"
        yield Verdict("imports", passed=True, said=f"{told['name']}, {by}")
        self.outcomes.clear()
        cohort = small_cohort(source, self.folder / "data")
        self._run_all(cohort, told)
        yield from judged(Findings(cohort, self.outcomes, self.changed, bool(told["engine"])))

    def _run_all(self, cohort: Cohort, told: Mapping[str, Any]) -> None:
        quick = Recipe.model_validate(told["recipe"]).with_overrides(
            QUICK | {"image_size": self.image_size}
        )
        inputs = _Inputs(cohort)

        def run(name: str, way: str = "as it is", column: int = 0, **changes: Any) -> Outcome:
            recipe = quick.with_overrides(changes.pop("overrides", {}))
            probe = self._probe(name, folder=changes.pop("folder", name))
            job_file = self._job_file(cohort, told, recipe, column, probe.folder, inputs)
            outcome = self._watch(replace(probe, job_file=job_file, way=way), **changes)
            self.changed[name] = inputs.restored()
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
        batch = {"batch_size": BATCH_PER_CLASS * len(cohort.manifest.classes)}
        steps = {"epochs": STEPS if told["engine"] else EPOCHS}
        run("one batch", "one batch", overrides=BY_HEART | batch | steps)
        tested = cohort.roles.image_ids[cohort.roles.rows(0, "test")]
        cohort.write_metadata(swapped=tested)
        inputs.reread()
        run("altered test labels")
        cohort.write_metadata()
        inputs.reread()
        half = first.described["seconds"] / 2

        def midway(probe: Probe) -> bool:
            return has_history(probe) or begun_seconds(probe) > half

        run("stopped", stop_when=midway)
        run("resumed", folder="stopped")

    def _probe(self, name: str, folder: str = "") -> Probe:
        environment = SAFE_THREADS | {
            "BENCH_DATA": str(self.folder / "data"),  # a temptation: a job never has it
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
        self.tell(probe.name)
        _put_aside(probe.folder)
        self.outcomes[probe.name] = watch(probe, lambda: stop_when is not None and stop_when(probe))
        return self.outcomes[probe.name]

    def _job_file(
        self,
        cohort: Cohort,
        told: Mapping[str, Any],
        recipe: Recipe,
        column: int,
        folder: Path,
        inputs: _Inputs,
    ) -> JobFile:
        manifest = cohort.manifest
        recipe.refuse_other_classes(manifest.classes)
        store, table = cohort.store(preprocessing(recipe)), cohort.table(column)
        inputs.know([store.folder / "pixels.npy", store.folder / "index.json", table])
        job = Job(
            protocol="check",
            dataset=manifest.name,
            row=told["name"],
            method=told["name"],
            recipe=recipe,
            method_source=told["source_sha256"],
            roles_sha256="",
            classes=manifest.classes,
            roster_sha256=manifest.roster_sha256,
            pixels_sha256=store.index.pixels_sha256,
            seed=0,
            repeat=0,
            fold=column,
            column=column,
            threads=1,
        )
        place = JobLocation(
            method_file=told["address"],
            store=str(store.folder),
            fold_table=str(table),
            weights=None,
            folder=str(folder),
            device="cpu",
        )
        return JobFile(id=job.id, command="", job=job, place=place)


def _put_aside(folder: Path) -> None:
    """Keep the log of an earlier probe of this folder by another name; forget its outcome."""
    (folder / OUTCOME).unlink(missing_ok=True)
    if (folder / LOG).exists():
        (folder / LOG).rename(folder / f"earlier_{LOG}")


class _Inputs:
    """The files that a probe reads, as they were: what one has changed is put back."""

    def __init__(self, cohort: Cohort) -> None:
        self.kept: dict[Path, bytes] = {}
        self.metadata = cohort.metadata
        self.know([cohort.metadata])

    def know(self, files: list[Path]) -> None:
        """Remember files as they are, once."""
        for file in files:
            if file not in self.kept:
                self.kept[file] = file.read_bytes()

    def reread(self) -> None:
        """Take the metadata as it is now for what it should be."""
        self.kept[self.metadata] = self.metadata.read_bytes()

    def restored(self) -> list[str]:
        """Names of the files that are not what they were; they are put back."""
        changed = []
        for file, content in self.kept.items():
            if not file.is_file() or _digest(file.read_bytes()) != _digest(content):
                changed.append(file.name)
                file.write_bytes(content)
        return changed


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def refuse_unknown(method: str, baselines: Path) -> None:
    """Raise MethodError for a method that is not there, before anything is started."""
    known = [*method_names(baselines), *installed_methods()]
    if method.endswith(".py"):
        if not Path(method).is_file():
            raise MethodError(f"{method}: no such method file")
    elif method not in known:
        raise MethodError(f"unknown method {method!r}; known are {listing(known)}")
