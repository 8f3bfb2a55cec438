"""The page of a dataset under a protocol, ready to be laid out, and its numbers as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from bench.report import words
from bench.report.eda_tables import Grid, fold_grid, missing
from bench.report.export import plain_data
from bench.report.guidelines import (
    ANSWERED,
    AUTHORS,
    IN_PART,
    Guideline,
    guidelines,
    guidelines_csv,
)
from bench.report.headed import Headed, of_the_data
from bench.report.html import render_page
from bench.report.names import plain, said
from bench.report.numbers import count, counted
from bench.report.study import Study
from bench.report.study_tables import (
    Detectable,
    Step,
    detectable,
    flow,
    pairs_grid,
    parts_grid,
    used_grid,
)

NAME = "dataset"
FILES = (
    (f"{NAME}.json", "everything on this page"),
    (f"{NAME}_guidelines.csv", "the items of the guidelines, with a column for your own words"),
)


@dataclass(frozen=True, slots=True)
class StudyPage(Headed):
    """The page, ready to be laid out."""

    flow: tuple[Step, ...]
    parts: Grid
    used: Grid
    balance: tuple[Grid, ...]
    missing: Grid
    duplicates: tuple[str, ...]
    pairs: Grid | None
    proven: tuple[str, ...]
    detectable: Detectable
    assumed: str
    guidelines: tuple[Guideline, ...]
    states: tuple[str, str, str]
    files: tuple[tuple[str, str], ...]


def study_page(study: Study) -> StudyPage:
    """Everything the page says and draws."""
    board = study.board
    return StudyPage(
        title=f"{'Synthetic data: ' if study.manifest.synthetic else ''}"
        f"{said(study.manifest.title)}, {plain(study.protocol.name)}: data and protocol",
        kicker=" · ".join(
            ("Data and protocol", said(study.manifest.title), plain(study.protocol.name))
        ),
        heading=words.protocol_title(study.protocol.title, study.manifest.unit),
        headline=_headline(study),
        standfirst=_standfirst(study),
        data=of_the_data(board),
        flow=flow(study),
        parts=parts_grid(study),
        used=used_grid(study),
        balance=tuple(fold_grid(part, table) for part, table in study.balance.items()),
        missing=missing(study.manifest),
        duplicates=_duplicates(study),
        pairs=pairs_grid(study),
        proven=tuple(plain(f"{one[:1].upper()}{one[1:]}") for one in study.proven),
        detectable=detectable(study),
        assumed=_assumed(study),
        guidelines=guidelines(study),
        states=(ANSWERED, IN_PART, AUTHORS),
        files=FILES,
    )


def _headline(study: Study) -> str:
    images = "synthetic images" if study.manifest.synthetic else "images"
    unit = "" if study.manifest.unit == "image" else f" of {count(study.groups)} groups"
    tested = int(study.tested.sum())
    whole = len(study.manifest)
    part = "all of them" if tested == whole else f"{count(tested)} of them"
    how = (
        "tested. A control: groups are divided on purpose."
        if study.protocol.split.control
        else "tested, with no known group on two sides of a fold."
    )
    return f"{count(whole)} {images}{unit}; {part} {how}"


def _standfirst(study: Study) -> tuple[str, ...]:
    off = max(
        (
            float(table.loc[table["attribute"] == "class", "deviation"].max())
            for part, table in study.balance.items()
            if part == "test"
        ),
        default=float("nan"),
    )
    told = []
    if off == off:  # noqa: PLR0124 - not NaN
        told.append(f"The test parts hold every class within {off * 100:.1f}% of an equal share.")
    told += open_pairs(study)
    lines = study.detectable.set_index("class")["detectable"]
    if "all" in lines:
        told.append(
            f"A difference of {lines['all'] * 100:.1f} points of accuracy between two methods "
            "would show; by class it takes more."
        )
    return tuple(told)


def _duplicates(study: Study) -> tuple[str, ...]:
    frozen = len(study.pairs.frozen)
    joined = study.native_groups - study.groups
    unit = words.plural(study.manifest.unit)
    if not frozen:
        first = (
            "No list of duplicates is known for this dataset: none was looked for, or none found."
        )
    else:
        first = (
            f"{counted(frozen, 'pair')} of images that cross {unit} were known before the roles "
            "were frozen."
        )
    united = (
        f"{count(study.native_groups)} {unit} make {count(study.groups)} groups: both images of a "
        "pair stand on one side of every fold."
        if joined
        else f"The roles unite none: each of the {count(study.groups)} groups is one "
        f"{plain(study.manifest.unit)}."
    )
    return (first, united, *open_pairs(study))


def open_pairs(study: Study) -> list[str]:
    """The pairs of one lesion that are known by now and that the frozen roles do not unite."""
    later = len(study.pairs.later)
    stand = "stands" if later == 1 else "stand"
    told = (
        f"{counted(later, 'pair')} of images found since to show one lesion {stand} in two groups "
        "still, for frozen roles never change."
    )
    return [told] if later else []


def _assumed(study: Study) -> str:
    by = study.assumed
    return (
        f"The smallest true difference between two methods on the same images that the paired "
        f"{by['level']:.0%} interval finds with {by['power']:.0%} power, if they differ on "
        f"{by['disagreement']:.0%} of the images and their differences correlate by "
        f"{by['correlation']:g} within a group. Normal approximation; conditional on the trained "
        "models. ICC: how far images of one group are of one class."
    )


def study_json(study: Study, page: StudyPage) -> str:
    """Everything on the page for programs: strict JSON, an undefined value is null."""
    content = {
        "protocol": study.protocol.name,
        "dataset": study.manifest.name,
        "roster_sha256": study.manifest.roster_sha256,
        "roles_sha256": study.protocol.roles[study.manifest.name].sha256,
        "synthetic": study.manifest.synthetic,
        "unit": study.manifest.unit,
        "images": len(study.manifest),
        "native_groups": study.native_groups,
        "groups": study.groups,
        "left_out": dict(study.left_out),
        "folds": [
            {
                "name": study.fold_name(column),
                **{
                    part or "left out": dict(
                        zip(("images", "groups"), study.size(column, part), strict=True)
                    )
                    for part in ("train", "val", "test", "")
                },
            }
            for column in range(study.roles.columns)
        ],
        "balance": {part: table.to_dict("records") for part, table in study.balance.items()},
        "duplicates": {
            "known_before": study.pairs.frozen.to_dict("records"),
            "found_since": study.pairs.later.to_dict("records"),
        },
        "proven": list(study.proven),
        "detectable": {
            "assumed": dict(study.assumed),
            "by_class": study.detectable.to_dict("records"),
        },
        "guidelines": [
            asdict(one) | {"items": [asdict(item) | {"state": item.state} for item in one.items]}
            for one in page.guidelines
        ],
    }
    return json.dumps(plain_data(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_study(study: Study, home: str = "") -> Mapping[str, str]:
    """The files of the page, by name. home: address of the site's index, if it stands in one."""
    page = study_page(study)
    return {
        f"{NAME}.html": render_page("dataset.html.j2", page=page, home=home),
        f"{NAME}.json": study_json(study, page),
        f"{NAME}_guidelines.csv": guidelines_csv(page.guidelines),
    }
