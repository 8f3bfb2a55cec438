"""Reporting guidelines: items answered from the records."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.io import text_cell
from bench.leaderboard.text import metric
from bench.recipe import Recipe
from bench.report.dataset_report import LEFT_OUT, DatasetReport
from bench.report.export import as_csv
from bench.report.format import count, counted, listed, name, percent, plain, said
from bench.report.row_page import OF_IMAGES
from bench.report.tables import method_name, spelled
from bench.report.text import plural
from bench.settings import REPORTS

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


MOST = 12


def data(study: DatasetReport) -> str:
    """Where the data come from."""
    manifest = study.manifest
    if manifest.synthetic:
        return f"Drawn by this project’s own program. Licence: {plain(manifest.licence)}."
    title, licence = said(manifest.title), plain(manifest.licence) or "not stated"
    cited = plain(manifest.citation) or "no citation is on record"
    return f"{title}, read from its published metadata. Licence: {licence}. {cited}"


def design(study: DatasetReport) -> str:
    """Retrospective, and so blind."""
    if study.manifest.synthetic:
        return "Neither: nobody was examined. Labels were drawn before the images."
    return (
        "Retrospective: images and diagnoses existed before any model here was trained, so the "
        "diagnoses were made without these models’ results."
    )


def eligibility(study: DatasetReport) -> str:
    """Which rows of the metadata are in."""
    passed = "; ".join(f"{title.lower()}: {count(n)}" for title, n in study.left_out.items())
    return (
        f"Every labelled image of the metadata is in: {counted(len(study.manifest), 'image')}. "
        f"Passed over while reading: {passed or 'none'}. Images are not chosen by quality."
    )


def flow(study: DatasetReport) -> str:
    """Found, left out, used, in a sentence."""
    tested = int(study.tested.sum())
    rest = len(study.manifest) - tested
    unit = plural(study.manifest.unit)
    return (
        f"{counted(len(study.manifest), 'image')} in {count(study.native_groups)} {unit} "
        f"({counted(study.groups, 'group')} once known duplicates are joined); "
        f"{count(tested)} are tested{f', {count(rest)} never are' if rest else ''}. "
        "The table under “Flow” has every fold."
    )


def sources(study: DatasetReport) -> str:
    """The sources that the metadata name."""
    table = study.manifest.table
    known = table["source"].dropna().value_counts()
    if known.empty:
        return "The metadata name no source."
    shown = [f"{said(str(one))} ({counted(n, 'image')})" for one, n in known.head(MOST).items()]
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f"By the metadata’s sources: {', '.join(shown)}{more}."


def reference(study: DatasetReport) -> str:
    """How the diagnoses were confirmed."""
    kinds = study.manifest.table["dx_type"].fillna("not stated").value_counts()
    shares = [f"{said(str(kind))} {percent(n / kinds.sum())}" for kind, n in kinds.items()]
    if list(kinds.index) == ["not stated"]:
        return "The dataset’s own labels; how they were confirmed is not in the metadata."
    return f"The dataset’s own labels, confirmed by: {', '.join(shares[:MOST])}."


def histology(study: DatasetReport) -> str:
    """The share of malignant images confirmed by histology."""
    table, malignant = study.manifest.table, study.manifest.malignant
    own = table[table["label"].isin(malignant)]
    if not malignant or own.empty:
        return ""
    if not own["dx_type"].notna().any():
        return "How malignant lesions were confirmed is not in the metadata."
    sure = own["dx_type"].str.startswith("histo", na=False)
    names = listed([said(label) for label in malignant])
    return (
        f"Of {counted(len(own), 'image')} of malignant classes ({names}), "
        f"{percent(float(sure.mean()))} are confirmed by histology, by the metadata."
    )


def classes(study: DatasetReport) -> str:
    """Images and groups of every class."""
    facts, unit = study.board.dataset, study.manifest.unit
    shown = [
        f"{said(label)} {count(facts.images_by_class.get(label, 0))}"
        + (f" ({count(facts.groups_by_class.get(label, 0))})" if unit != "image" else "")
        for label in study.manifest.classes
    ]
    inside = f" ({plural(unit)})" if unit != "image" else ""
    return f"Images{inside} by class: {', '.join(shown)}."


def prevalence(study: DatasetReport) -> str:
    """The share of each class in the data."""
    images = study.board.dataset.images_by_class
    total = max(1, sum(images.values()))
    shown = [f"{said(label)} {percent(n / total)}" for label, n in images.items()]
    return f"Shares in the data, which the folds keep: {', '.join(shown)}."


def characteristics(study: DatasetReport) -> str:
    """Age and sex, and where the rest stands."""
    table = study.manifest.table
    told = []
    if table["age"].notna().any():
        low, middle, high = table["age"].quantile([0.25, 0.5, 0.75])
        told.append(f"median age {middle:.0f} (quartiles {low:.0f} and {high:.0f})")
    known = table["sex"].dropna()
    told += [f"{said(str(sex))} {percent(n / len(known))}" for sex, n in _counts(known)]
    head = f"Over images: {', '.join(told)}, of those where it is known. " if told else ""
    return f"{head}“Balance” shows every part of every fold by class, sex, age, site and source."


def _counts(values: object) -> list[tuple[object, int]]:
    return list(values.value_counts().head(MOST).items())  # type: ignore[attr-defined]


def missing(study: DatasetReport) -> str:
    """What is missing, and that nothing is filled in."""
    table = study.manifest.table
    gaps = {key: int(table[key].isna().sum()) for key in ("age", "sex", "localization")}
    told = ", ".join(f"{key} in {count(n)}" for key, n in gaps.items() if n)
    ungrouped = study.manifest.ungrouped
    lone = (
        f" {counted(ungrouped, 'image')} carry no group id and count as groups of their own."
        if ungrouped
        else ""
    )
    return (
        f"No label is missing. Of the metadata: {told or 'nothing'} is missing; the bench fills "
        f"nothing in and leaves no image out for it.{lone}"
    )


def partition(study: DatasetReport) -> str:
    """How the folds divide the data."""
    protocol, split = study.protocol, study.protocol.split
    roles = protocol.roles.get(study.manifest.name)
    whole = (
        "Groups are divided on purpose: a control."
        if split.control
        else f"All images of a {plain(study.manifest.unit)}, and duplicates known when the folds "
        "were frozen, stay together."
    )
    repeats = f", {split.repeats} times over" if split.repeats > 1 else ""
    arms = f", in the arms {listed([plain(arm) for arm in split.arms])}" if split.arms else ""
    frozen = f" Frozen as {plain(roles.file)}, sha256 {roles.sha256[:16]}…." if roles else ""
    return (
        f"{plain(protocol.title)}: {counted(split.folds, 'fold')}{repeats}{arms} "
        f"({split.kind}), {percent(split.val)} of the images for validation, balanced by "
        f"{listed(list(split.stratify))}. {whole}{frozen}"
    )


def sizes(study: DatasetReport) -> str:
    """Images of the parts over the folds."""
    told = []
    for part in ("train", "val", "test"):
        found = [study.size(column, part) for column in range(study.roles.columns)]
        images, groups = zip(*found, strict=True)
        told.append(f"{part} {_range(images)} images ({_range(groups)} groups)")
    return f"Over the folds: {', '.join(told)}. “Flow” has each of them."


def _range(numbers: tuple[int, ...]) -> str:
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def sample_size(study: DatasetReport) -> str:
    """The data are what they are; what they can show."""
    table = study.detectable.set_index("class")["detectable"]
    own = table.drop("all", errors="ignore")
    power, level = study.assumed["power"], study.assumed["level"]
    best, worst = str(own.idxmin()), str(own.idxmax())
    return (
        "Given by the dataset, not calculated. With it a difference in recall is found with "
        f"{power:.0%} power at the {level:.0%} level from {own.min():.3f} ({said(best)}) to "
        f"{own.max():.3f} ({said(worst)}), by the assumptions under “Detectable differences”."
    )


def external(study: DatasetReport) -> str:
    """Whether anything outside the dataset is tested."""
    if study.protocol.split.kind == "source-holdout":
        return (
            "Each source of the dataset is tested by models that never saw it; no dataset beyond "
            "this one is tested. “Balance” shows how the sources differ."
        )
    return "None: training and test parts are of one dataset, balanced to be alike."


def clusters(study: DatasetReport) -> str:
    """Sources as clusters."""
    if not study.manifest.table["source"].notna().any():
        return "The metadata name no source to tell clusters by; folds and subgroups are shown."
    apart = study.protocol.split.kind == "source-holdout"
    how = "each source is a fold of its own" if apart else "each row’s page scores every source"
    return f"Sources: {how}; the leaderboard shows every fold."


def images(study: DatasetReport) -> str:
    """What kind of pictures."""
    if study.manifest.synthetic:
        return "Drawn images in the manner of dermatoscopy; no photograph."
    size = study.manifest.native_size
    pixels = f", published at {size[0]} × {size[1]} pixels" if size else ""
    return f"As the dataset has them{pixels}."


def artefacts(study: DatasetReport) -> str:
    """What the bench measures of them."""
    return (
        "None is removed unless a recipe says so. `data eda` measures hair, sharpness, brightness "
        f"and colour cast of {name(study.manifest.title).short} against class and source."
    )


def synthetic(study: DatasetReport) -> str:
    """Whether images are drawn."""
    if study.manifest.synthetic:
        return "All images are synthetic; the program that draws them is part of the project."
    return "None in the data; augmentation alters images of the training part only."


def skin_colour(_study: DatasetReport) -> str:
    """It is in no metadata."""
    return "Not in the metadata that the bench reads, so no result is broken down by it."


def out_of_distribution(_study: DatasetReport) -> str:
    """None is tested."""
    return "None: every tested image is of one of the classes."


def protocol(study: DatasetReport) -> str:
    """The frozen protocol."""
    return (
        f"protocols/{plain(study.protocol.name)}.toml and its frozen roles, both part of the "
        "project and fixed before training."
    )


def limits(study: DatasetReport) -> str:
    """What these numbers cannot show."""
    unit = study.manifest.unit
    kinder = (
        ""
        if unit == "patient"
        else f" Groups are {plural(unit)}, not patients, so the numbers may be kinder."
    )
    dropped = LEFT_OUT.get(study.protocol.split.kind)
    left = f" Images are left out of folds where {dropped}." if dropped else ""
    later = len(study.pairs.later)
    known = f" {counted(later, 'pair')} of duplicates found later cross groups." if later else ""
    return (
        "Intervals are conditional on the trained models; one dataset, its prevalence, its "
        f"cameras.{kinder}{left}{known}"
    )


DATA_ANSWERS: Mapping[str, Callable[[DatasetReport], str]] = {
    one.__name__: one
    for one in (
        data,
        design,
        eligibility,
        flow,
        sources,
        reference,
        histology,
        classes,
        prevalence,
        characteristics,
        missing,
        partition,
        sizes,
        sample_size,
        external,
        clusters,
        images,
        artefacts,
        synthetic,
        skin_colour,
        out_of_distribution,
        protocol,
        limits,
    )
}


# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


SOFTWARE = ("python", "torch", "timm", "numpy", "scikit-learn")
IMBALANCE = (
    "sampler",
    "sampler_power",
    "rare_augment",
    "class_weight_power",
    "class_weight_beta",
    "class_weight_from",
    "class_loss_scale",
    "logit_adjustment",
    "loss",
)
"""Switches of a recipe that answer to rare classes."""
NO_ROWS = "No method has been run yet."


def objective(study: DatasetReport) -> str:
    """Development and evaluation, by the protocol."""
    primary = metric(study.protocol.metrics.primary).label
    return (
        "Development and internal evaluation of classifiers, compared on the same images by the "
        f"protocol {plain(study.protocol.name)}; the primary metric, {primary}, was fixed with it."
    )


def _rows(study: DatasetReport) -> str:
    trained, joined, submitted = map(len, (study.trained, study.ensembles, study.submitted))
    told = [f"{count(trained)} trained by this bench"] if trained else []
    told += [f"{counted(joined, 'ensemble')} of them, by weights chosen on val"] if joined else []
    told += [f"{count(submitted)} submitted, their training not verified"] if submitted else []
    return listed(told) if told else ""


def index_test(study: DatasetReport) -> str:
    """The methods, and where each is told in full."""
    rows = _rows(study)
    if not rows:
        return NO_ROWS
    return (
        f"Methods: {rows}. Each row’s page has its recipe with every switch, the command that "
        "gives it again and the hashes to compare. The class with the highest probability is "
        "called, ties going to the first."
    )


def development(study: DatasetReport) -> str:
    """What train, val and test parts were used for."""
    rows = _rows(study)
    return (
        "Weights are learnt on the training part of each fold; early stopping, the choice of the "
        "epoch, temperature and thresholds use its validation part; the test part is predicted "
        f"once. {f'Rows: {rows}.' if rows else NO_ROWS}"
    )


def software(study: DatasetReport) -> str:
    """Versions and devices of the trained rows."""
    if not study.trained:
        return NO_ROWS
    told = []
    for key in (*SOFTWARE, "device"):
        found = {plain(row.facts.environment.get(key, "")) for row in study.trained} - {""}
        if found:
            told.append(f"{key} {' or '.join(sorted(found))}")
    return f"Trained with {', '.join(told)}; each row’s page lists all." if told else ""


def preprocessing(study: DatasetReport) -> str:
    """What happens to an image, by recipe."""
    found: dict[str, list[str]] = {}
    for row in study.trained:
        steps = ", ".join(
            f"{key} {spelled(row.facts.recipe[key])}"
            for key in OF_IMAGES
            if row.facts.recipe.get(key) not in (None, False)
        )
        found.setdefault(steps, []).append(said(row.name))
    told = "; ".join(f"{listed(rows)}: {steps}" for steps, rows in found.items() if steps)
    return (
        "As far as a method reads images, they are decoded as their orientation tag says, resized "
        "to a square and normalised, the same way in every part and for everyone. "
        + (f"By recipe: {told}." if told else "No trained row yet.")
    )


def thresholds(_study: DatasetReport) -> str:
    """Outputs, the call and the thresholds."""
    return (
        "A probability a class; the highest is called. Operating points use thresholds chosen on "
        "the validation part for a specificity or sensitivity fixed beforehand."
    )


def blinding(_study: DatasetReport) -> str:
    """What a method sees of a test image."""
    return (
        "Methods get a test image with age, sex and site, never its label, group, source or kind "
        "of confirmation; each job reads a store of pixels without labels."
    )


def predictors(_study: DatasetReport) -> str:
    """The image; what else a method may read."""
    return (
        "The image. A method may also read age, sex and site; source and kind of confirmation are "
        "kept from it, since they give classes away."
    )


def statistics(study: DatasetReport) -> str:
    """Intervals, tests, corrections."""
    made = study.board.interval
    return (
        f"{made.level:.0%} intervals by the cluster bootstrap over {plural(made.unit)} "
        f"({count(made.resamples)} resamples, {method_name(made.method)}); differences paired on "
        "the same resamples; corrected resampled t test over folds (Nadeau & Bengio), Holm over "
        "the pairs. Discrimination, calibration and decision curves are drawn on each row’s page."
    )


def indeterminate(_study: DatasetReport) -> str:
    """There are none."""
    return "None: every tested image gets a call. A metric that is undefined is shown as n/a."


def variability(study: DatasetReport) -> str:
    """Spread over folds and seeds."""
    seeds = max((len(row.seeds) for row in study.board.rows), default=1)
    over = f" and {counted(seeds, 'seed')}" if seeds > 1 else ""
    return (
        f"Every metric by fold ({counted(study.board.folds * study.board.repeats, 'fold')}){over} "
        "on the leaderboard; subgroups on each row’s page."
    )


def fairness(study: DatasetReport) -> str:
    """Subgroups that the metadata allow."""
    table = study.manifest.table
    known = [key for key in ("age", "sex", "localization", "source") if table[key].notna().any()]
    if not known:
        return "The metadata have no attribute to tell subgroups by."
    return (
        f"Each row’s page scores it by {listed(known)}, with the largest gap of each and an "
        "interval that holds for all pairs looked at; below 50 groups nothing is said."
    )


def imbalance(study: DatasetReport) -> str:
    """What each recipe does about rare classes."""
    usual = Recipe().model_dump()
    told = []
    for row in study.trained:
        recipe = row.facts.recipe
        used = {
            key: recipe[key] for key in IMBALANCE if key in recipe and recipe[key] != usual[key]
        }
        told.append(f"{said(row.name)}: {spelled(used) or 'nothing'}")
    if not told:
        return NO_ROWS
    return f"{'; '.join(told)}. A temperature is fitted on the validation part and recorded."


def confusion(_study: DatasetReport) -> str:
    """Where the counts stand."""
    return "The leaderboard has the counts of every row under “Confusion”."


def estimates(study: DatasetReport) -> str:
    """The headline, and where all estimates stand."""
    first = study.board.leader
    begin = study.board.verdict
    value = study.board.primary_text(first) if first else ""
    told = f" First: {said(first.name)}, {value}." if first and value not in begin else ""
    return f"{begin}{told} All metrics with intervals: the leaderboard."


def benchmark(study: DatasetReport) -> str:
    """Reference rows and rivals."""
    rows = _rows(study)
    best = said(study.board.best_reference) if study.board.best_reference else ""
    against = f" The best row that has learnt nothing is {best}." if best else ""
    return (
        f"{f'Methods: {rows}.' if rows else NO_ROWS} All on the same folds, beside reference rows "
        f"that have learnt nothing.{against}"
    )


def availability(study: DatasetReport) -> str:
    """Data, roles, predictions."""
    licence = plain(study.manifest.licence) or "not stated"
    return (
        f"The data at their own source (licence: {licence}); roles, records and predictions of "
        "every row lie beside the leaderboard, which the bench works out again from them."
    )


def code(study: DatasetReport) -> str:
    """Commands and commits."""
    commits = {row.facts.environment.get("commit", "") for row in study.trained} - {""}
    told = listed([plain(one)[:12] for one in sorted(commits)]) if commits else ""
    return "Each row’s page has the command that gives it again" + (
        f"; the code was at commit {told}." if told else "."
    )


def audit(_study: DatasetReport) -> str:
    """Predictions are kept with their hashes."""
    return (
        "The probabilities for every tested image are kept as files whose sha256 stands in the "
        "record; `verify-results` checks them."
    )


def no_patient(_study: DatasetReport) -> str:
    """Nobody was examined."""
    return "None possible: recorded images were classified by a program, and nobody acted on it."


def no_reader(_study: DatasetReport) -> str:
    """No predictor is read by eye."""
    return "No predictor is read by eye; models read pixels."


def no_update(_study: DatasetReport) -> str:
    """No model is updated."""
    return "No model is updated after its test."


METHOD_ANSWERS: Mapping[str, Callable[[DatasetReport], str]] = {
    one.__name__: one
    for one in (
        objective,
        index_test,
        development,
        software,
        preprocessing,
        thresholds,
        blinding,
        predictors,
        statistics,
        indeterminate,
        variability,
        fairness,
        imbalance,
        confusion,
        estimates,
        benchmark,
        availability,
        code,
        audit,
        no_patient,
        no_reader,
        no_update,
    )
}


GUIDELINES = REPORTS / "guidelines"
FILES = ("stard_ai", "tripod_ai", "clear_derm")
ANSWERS = DATA_ANSWERS | METHOD_ANSWERS  # type: ignore[operator]
ANSWERED, IN_PART, AUTHORS = "answered", "in part", "yours to fill"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a guideline.

    answer  what the records say, "" if nothing
    fill    what only the authors know, "" if nothing is left
    """

    number: str
    topic: str
    answer: str
    fill: str

    @property
    def state(self) -> str:
        """Answered, in part, or the authors' to fill."""
        if not self.answer:
            return AUTHORS
        return IN_PART if self.fill else ANSWERED


@dataclass(frozen=True, slots=True)
class Guideline:
    """A guideline with its items, in its order."""

    id: str
    name: str
    about: str
    year: int
    doi: str
    cite: str
    items: tuple[Item, ...]

    def count(self, state: str) -> int:
        """How many items are in a state."""
        return sum(item.state == state for item in self.items)


@cache
def _read(file: str) -> Mapping[str, Any]:
    return tomllib.loads((GUIDELINES / f"{file}.toml").read_text(encoding="utf-8"))


def guidelines(study: DatasetReport) -> tuple[Guideline, ...]:
    """Every guideline, its items answered as far as the records go."""
    known = {key: answer(study) for key, answer in ANSWERS.items()}
    found = []
    for file in FILES:
        content = _read(file)
        items = tuple(_item(one, known) for one in content["item"])
        about = {key: content[key] for key in ("name", "about", "year", "doi", "cite")}
        found.append(Guideline(id=file.replace("_", "-"), items=items, **about))
    return tuple(found)


def _item(one: Mapping[str, str], known: Mapping[str, str]) -> Item:
    answer = known[one["answer"]] if "answer" in one else ""
    fill = one.get("fill", "")
    if not answer and not fill:
        fill = "The records do not say."
    return Item(one["number"], one["topic"], answer, fill)


def guidelines_csv(found: Sequence[Guideline]) -> str:
    """One line an item, with an empty column for the authors' own words."""
    lines = [["guideline", "item", "topic", "state", "from_the_records", "to_fill", "authors"]]
    lines += [
        [
            *(one.name, item.number, item.topic, item.state),
            *(text_cell(item.answer), text_cell(item.fill), ""),
        ]
        for one in found
        for item in one.items
    ]
    return as_csv(lines)
