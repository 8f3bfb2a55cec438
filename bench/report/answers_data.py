"""What the records say of data and folds, in answer to reporting guidelines."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.report.names import listed, name, plain, said
from bench.report.numbers import count, counted, percent
from bench.report.study import LEFT_OUT, Study
from bench.report.words import plural

MOST = 12


def data(study: Study) -> str:
    """Where the data come from."""
    manifest = study.manifest
    if manifest.synthetic:
        return f"Drawn by this project’s own program. Licence: {plain(manifest.licence)}."
    title, licence = said(manifest.title), plain(manifest.licence) or "not stated"
    cited = plain(manifest.citation) or "no citation is on record"
    return f"{title}, read from its published metadata. Licence: {licence}. {cited}"


def design(study: Study) -> str:
    """Retrospective, and so blind."""
    if study.manifest.synthetic:
        return "Neither: nobody was examined. Labels were drawn before the images."
    return (
        "Retrospective: images and diagnoses existed before any model here was trained, so the "
        "diagnoses were made without these models’ results."
    )


def eligibility(study: Study) -> str:
    """Which rows of the metadata are in."""
    passed = "; ".join(f"{title.lower()}: {count(n)}" for title, n in study.left_out.items())
    return (
        f"Every labelled image of the metadata is in: {counted(len(study.manifest), 'image')}. "
        f"Passed over while reading: {passed or 'none'}. Images are not chosen by quality."
    )


def flow(study: Study) -> str:
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


def sources(study: Study) -> str:
    """The sources that the metadata name."""
    table = study.manifest.table
    known = table["source"].dropna().value_counts()
    if known.empty:
        return "The metadata name no source."
    shown = [f"{said(str(one))} ({counted(n, 'image')})" for one, n in known.head(MOST).items()]
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f"By the metadata’s sources: {', '.join(shown)}{more}."


def reference(study: Study) -> str:
    """How the diagnoses were confirmed."""
    kinds = study.manifest.table["dx_type"].fillna("not stated").value_counts()
    shares = [f"{said(str(kind))} {percent(n / kinds.sum())}" for kind, n in kinds.items()]
    if list(kinds.index) == ["not stated"]:
        return "The dataset’s own labels; how they were confirmed is not in the metadata."
    return f"The dataset’s own labels, confirmed by: {', '.join(shares[:MOST])}."


def histology(study: Study) -> str:
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


def classes(study: Study) -> str:
    """Images and groups of every class."""
    facts, unit = study.board.dataset, study.manifest.unit
    shown = [
        f"{said(label)} {count(facts.images_by_class.get(label, 0))}"
        + (f" ({count(facts.groups_by_class.get(label, 0))})" if unit != "image" else "")
        for label in study.manifest.classes
    ]
    inside = f" ({plural(unit)})" if unit != "image" else ""
    return f"Images{inside} by class: {', '.join(shown)}."


def prevalence(study: Study) -> str:
    """The share of each class in the data."""
    images = study.board.dataset.images_by_class
    total = max(1, sum(images.values()))
    shown = [f"{said(label)} {percent(n / total)}" for label, n in images.items()]
    return f"Shares in the data, which the folds keep: {', '.join(shown)}."


def characteristics(study: Study) -> str:
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


def missing(study: Study) -> str:
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


def partition(study: Study) -> str:
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


def sizes(study: Study) -> str:
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


def sample_size(study: Study) -> str:
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


def external(study: Study) -> str:
    """Whether anything outside the dataset is tested."""
    if study.protocol.split.kind == "source-holdout":
        return (
            "Each source of the dataset is tested by models that never saw it; no dataset beyond "
            "this one is tested. “Balance” shows how the sources differ."
        )
    return "None: training and test parts are of one dataset, balanced to be alike."


def clusters(study: Study) -> str:
    """Sources as clusters."""
    if not study.manifest.table["source"].notna().any():
        return "The metadata name no source to tell clusters by; folds and subgroups are shown."
    apart = study.protocol.split.kind == "source-holdout"
    how = "each source is a fold of its own" if apart else "each row’s page scores every source"
    return f"Sources: {how}; the leaderboard shows every fold."


def images(study: Study) -> str:
    """What kind of pictures."""
    if study.manifest.synthetic:
        return "Drawn images in the manner of dermatoscopy; no photograph."
    size = study.manifest.native_size
    pixels = f", published at {size[0]} × {size[1]} pixels" if size else ""
    return f"As the dataset has them{pixels}."


def artefacts(study: Study) -> str:
    """What the bench measures of them."""
    return (
        "None is removed unless a recipe says so. `data eda` measures hair, sharpness, brightness "
        f"and colour cast of {name(study.manifest.title).short} against class and source."
    )


def synthetic(study: Study) -> str:
    """Whether images are drawn."""
    if study.manifest.synthetic:
        return "All images are synthetic; the program that draws them is part of the project."
    return "None in the data; augmentation alters images of the training part only."


def skin_colour(_study: Study) -> str:
    """It is in no metadata."""
    return "Not in the metadata that the bench reads, so no result is broken down by it."


def out_of_distribution(_study: Study) -> str:
    """None is tested."""
    return "None: every tested image is of one of the classes."


def protocol(study: Study) -> str:
    """The frozen protocol."""
    return (
        f"protocols/{plain(study.protocol.name)}.toml and its frozen roles, both part of the "
        "project and fixed before training."
    )


def limits(study: Study) -> str:
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


ANSWERS: Mapping[str, Callable[[Study], str]] = {
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
