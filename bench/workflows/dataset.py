"""Audit, search for duplicates, and explore a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.data.audit import Audit, KnownPairs, audit_json
from bench.data.audit import audit as audit_data
from bench.data.duplicates.near import Duplicates
from bench.data.open import DatasetSpec, OpenDataset
from bench.dataset import Dataset
from bench.errors import BenchError, DataError, ProtocolError, listing
from bench.folds.assign import join_groups
from bench.io import write_atomically
from bench.leaderboard import Association
from bench.protocol import Protocol, Roles, load_roles
from bench.report.eda_page import EdaReport
from bench.settings import PROTOCOLS
from bench.workflows.events import OnEvent, Progress, Steps, ignore
from bench.workflows.protocols import known_pairs, missed_pairs
from bench.workflows.workspace import find_protocol

SEED = 20180814
EXAMPLES = 6
ATTRIBUTES = ("localization", "sex", "dx_type", "source", "age")
PARTS = ("test", "val", "train")


USUAL_STEPS = {"hair_removal": True, "colour_constancy": 6, "clahe": 2}


@dataclass(frozen=True)
class Preprocessed:
    """A panel of one image: the file written, share of hair pixels, seconds of each step."""

    panel: Path
    hair: float
    seconds: dict[str, float]


def preprocess(
    images: Sequence[Path], folder: Path, settings: Mapping[str, object]
) -> Iterator[Preprocessed]:
    """Write a panel of each image: before, hair mask, after every step; one at a time.

    settings  recipe options of the steps, beside the usual ones
    Raises DataError for unreadable images, BenchError for two of the same name.
    """
    from PIL import Image

    from bench.data.images import decode, read_picture
    from bench.data.preprocess import preprocessing, step_panel, trace_steps
    from bench.recipe import Recipe

    chain = preprocessing(Recipe().with_overrides({**USUAL_STEPS, **settings}))
    names = [path.stem for path in images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BenchError(f"images of the same name: {listing(twice)}; show them one at a time")
    folder.mkdir(parents=True, exist_ok=True)
    for path in images:
        try:
            stages = trace_steps(read_picture(path), decode, chain)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: {getattr(error, 'strerror', None) or error}; give whole JPEG or PNG files"
            ) from None
        panel = folder / f"{path.stem}.png"
        Image.fromarray(step_panel(stages)).save(panel)
        hair = next((s.image.mean() / 255 for s in stages if s.name == "hair mask"), 0.0)
        seconds = {stage.name: stage.seconds for stage in stages if stage.seconds is not None}
        yield Preprocessed(panel, float(hair), seconds)


@dataclass(frozen=True)
class CacheState:
    """An image cache: folder name, dataset, images and steps as far as known, bytes, state."""

    name: str
    dataset: str
    images: str
    steps: str
    size: int
    state: str
    damaged: bool = False


def caches(
    *, verify: bool = False, clear: bool = False, unfinished: bool = False
) -> tuple[Path, list[CacheState]]:
    """The folder of the image caches, and the state of each.

    verify  check each against its hash; clear  remove them; unfinished  remove only incomplete ones
    """
    from bench.data.cache import caches_folder, is_sound, list_caches, remove
    from bench.data.preprocess import described

    found = []
    for entry in list_caches():
        state: str = entry.state if entry.state != "unreadable" else "other version, or damaged"
        damaged = False
        if clear and (entry.state != "whole" or not unfinished):
            state = "removed" if remove(entry) else "kept: it is being built"
        elif verify and entry.state == "whole":
            damaged = not is_sound(entry.folder)
            state = "DAMAGED: the next run builds it again" if damaged else "sound"
        index = entry.index
        known = (
            ("", "", "")
            if index is None
            else (index.dataset, str(len(index.image_ids)), described(index.chain))
        )
        found.append(CacheState(entry.folder.name, *known, entry.size, state, damaged))
    return caches_folder(), found


@dataclass(frozen=True)
class ClassCounts:
    """Images, groups and lesions of one class; None counts all classes, lesions None: no ids."""

    label: str | None
    images: int
    groups: int
    lesions: int | None


def class_counts(dataset: Dataset) -> list[ClassCounts]:
    """Images, groups and lesions by class, then of all classes."""
    table = dataset.table.assign(group=dataset.native_groups)
    found = []
    for label in (*dataset.classes, None):
        rows = table if label is None else table[table["label"] == label]
        lesions = int(rows["lesion_id"].nunique()) if rows["lesion_id"].notna().any() else None
        found.append(ClassCounts(label, len(rows), int(rows["group"].nunique()), lesions))
    return found


def missing_values(dataset: Dataset) -> dict[str, int]:
    """Images without age, sex, body site and source."""
    columns = ("age", "sex", "localization", "source")
    return {column: int(dataset.table[column].isna().sum()) for column in columns}


def audit(
    data: DatasetSpec,
    protocol_name: str | None = None,
    *,
    near: bool = True,
    on_event: OnEvent = ignore,
) -> Audit:
    """List issues of metadata and images. Raises nothing for a faulty dataset: it reports.

    protocol_name  duplicates that its roles unite are known
    near           also search for near duplicates
    """

    def advance(stage: str, done: int, total: int) -> None:
        on_event(Progress(stage, done, total))

    def known(dataset: Dataset) -> KnownPairs:
        return _known_pairs(dataset, protocol_name)

    return audit_data(data, known, advance, near=near)


def write_audit(done: Audit, folder: Path) -> Path:
    """Write an audit as a page and as JSON; give the page."""
    from bench.report.audit_page import render_audit
    from bench.report.render import write

    write({"audit.json": audit_json(done), "index.html": render_audit(done)}, folder)
    return folder / "index.html"


def write_merged_groups(done: Audit, path: Path) -> int:
    """Write a groups file that joins all sure and known duplicates; give how many groups fewer."""
    dataset = done.manifest
    groups = join_groups(dataset, [*done.united, *sorted(done.known.united)])
    table = pd.DataFrame({"image_id": dataset.image_ids, "group_id": groups})
    write_atomically(path, table.to_csv(index=False, lineterminator="\n").encode())
    return len(set(dataset.native_groups.tolist())) - len(set(groups.tolist()))


def _known_pairs(dataset: Dataset, protocol_name: str | None) -> KnownPairs:
    """Committed duplicates, joined as a protocol's roles join them, else as the lists do."""
    ids = dataset.image_ids.tolist()
    listed = known_pairs(None, dataset.name, ids)
    if protocol_name is None:
        group_of = dict(zip(ids, join_groups(dataset, listed), strict=True))
    else:
        roles = load_roles(find_protocol(protocol_name), dataset.name, PROTOCOLS)
        group_of = dict(zip(roles.image_ids, roles.group_ids, strict=True))
    united = frozenset((a, b) for a, b in listed if group_of.get(a, a) == group_of.get(b, b))
    return KnownPairs(group_of, united, missed_pairs(dataset.name, ids))


def duplicates(
    source: OpenDataset, *, thorough: bool = False, on_event: OnEvent = ignore
) -> Duplicates:
    """Find images that show the same picture or, if thorough, the same lesion, across groups."""
    from bench.data.duplicates.near import find_near_duplicates
    from bench.data.duplicates.search import find_duplicates
    from bench.data.images import find_images, loader

    def advance(stage: str, done: int, total: int) -> None:
        on_event(Progress(stage, done, total))

    load = loader(find_images(source))
    if thorough:
        return find_duplicates(source.manifest, load, np.random.default_rng(0), advance)
    return find_near_duplicates(source.manifest, load, advance)


def write_pairs(found: Duplicates, file: Path) -> None:
    """Write the pairs as a CSV that `protocol freeze --duplicates` reads."""
    from bench.data.duplicates.near import format_pairs

    write_atomically(file, format_pairs(found.pairs).encode())


def groups_of(dataset: Dataset, protocol_name: str | None) -> Mapping[str, str]:
    """Group of every image: as a protocol's roles have it, else the dataset's own."""
    if protocol_name is None:
        return dict(zip(dataset.image_ids, dataset.native_groups, strict=True))
    roles = load_roles(find_protocol(protocol_name), dataset.name, PROTOCOLS)
    roles.refuse_other_roster(dataset)
    return dict(zip(roles.image_ids, roles.group_ids, strict=True))


def explore(
    data: DatasetSpec, protocol_name: str, *, images: bool = True, on_event: OnEvent = ignore
) -> EdaReport:
    """Explore a dataset: image quality, metadata against diagnosis, metadata alone, folds."""
    from bench.data.exploration import metadata_rows
    from bench.data.images import look_for_images
    from bench.folds.balance import balance_table
    from bench.score.leaderboard import score
    from bench.score.reference_rows import references

    protocol = find_protocol(protocol_name)
    source = data.open(images=images)
    dataset = source.manifest
    roles, frozen = _roles_for(protocol, source)
    quality: pd.DataFrame | None = None
    pictures: dict[str, list[tuple[str, bytes]]] = {}
    if images and look_for_images(source.folder, set(dataset.image_ids.tolist())).files:
        quality, pictures = _measure(source, on_event)
    rows = metadata_rows(dataset, roles, protocol, quality)
    rows += references(protocol, dataset, roles, protocol.run.seeds)
    return EdaReport(
        manifest=dataset,
        group_ids=roles.group_ids,
        quality=quality,
        pictures=pictures,
        associations=_associations(dataset.table, dataset.labels, roles.group_ids, quality),
        board=score(protocol, dataset, roles, rows, {}),
        balance={part: balance_table(roles, dataset, part) for part in PARTS},
        frozen=frozen,
    )


def write_exploration(found: EdaReport, page: Path) -> None:
    """Write an exploration as a page and, beside it, as JSON."""
    from bench.report.eda_page import eda_json, eda_page
    from bench.report.render import render_page, write

    text = render_page("eda.html.j2", page=eda_page(found))
    write({page.name: text, f"{page.stem}.json": eda_json(found)}, page.parent)


def _roles_for(protocol: Protocol, source: OpenDataset) -> tuple[Roles, bool]:
    """Roles of a dataset, and whether they are frozen; else they are drawn by the protocol's rules.

    Drawn roles use the greedy assigner, which takes any number of groups. Raises ProtocolError for
    a protocol with arms or a control, because its folds overlap on purpose.
    """
    from bench.folds.kinds import freeze

    dataset = source.manifest
    if protocol.split.arms or protocol.split.control:
        raise ProtocolError(f"--protocol {protocol.name}: has arms or is a control; give another")
    if dataset.name not in protocol.roles:
        split = protocol.split.model_copy(update={"dealer": "greedy"})
        ids = dataset.image_ids.tolist()
        missed = ((pair.image_a, pair.image_b) for pair in missed_pairs(dataset.name, ids))
        pairs = [*known_pairs(None, dataset.name, ids), *missed]
        return freeze(dataset, split, pairs), False
    roles = load_roles(protocol, dataset.name, PROTOCOLS)
    roles.refuse_other_roster(dataset)
    return roles, True


def _measure(
    source: OpenDataset, on_event: OnEvent
) -> tuple[pd.DataFrame, dict[str, list[tuple[str, bytes]]]]:
    """Measure every image; small copies of some images of each class and of the extremes."""
    from bench.data.exploration import MEASURES, examples, measure_images, thumbnail
    from bench.data.images import find_images, loader

    files = find_images(source)
    quality = measure_images(files, Steps(on_event, "image quality", len(files)))
    table = source.manifest.table.assign(group=source.manifest.native_groups)
    chosen = examples(table, EXAMPLES, np.random.default_rng(SEED))
    for measure in MEASURES:
        order = quality[measure].sort_values(kind="stable").index
        chosen[f"least {measure}"] = list(order[:EXAMPLES])
        chosen[f"most {measure}"] = list(order[::-1][:EXAMPLES])
    load = loader(files)
    return quality, {
        key: [(image_id, thumbnail(load(image_id))) for image_id in ids]
        for key, ids in chosen.items()
    }


def _associations(
    table: pd.DataFrame, labels: np.ndarray, group_ids: np.ndarray, quality: pd.DataFrame | None
) -> dict[str, Association]:
    """Associations of attributes, missing values and image quality with the diagnosis.

    Image quality is also tested against the source. All tests are one family for Holm.
    """
    from bench.score.association import adjusted, associate

    found: dict[str, Association] = {}
    groups = group_ids.astype(str)

    def add(key: str, values: pd.Series, classes: np.ndarray, rows: np.ndarray) -> None:
        rng = np.random.default_rng((SEED, len(found)))
        found[key] = associate(key, values[rows], classes[rows], groups[rows], rng)

    everyone = np.ones(len(table), dtype=bool)
    for column in ATTRIBUTES:
        add(column, table[column], labels, everyone)
        gap = table[column].isna()
        if gap.any() and not gap.all():
            words = pd.Series(np.where(gap, "missing", "there"))
            add(f"{column} missing", words, labels, everyone)
    if quality is not None:
        measured = quality.reset_index(drop=True)
        sourced = table["source"].notna().to_numpy()
        code = pd.factorize(table["source"])[0]
        for measure in ("sharpness", "brightness", "colour_cast", "hair"):
            add(measure, measured[measure], labels, everyone)
            if len(set(code[sourced].tolist())) > 1:
                add(f"{measure} by source", measured[measure], code, sourced)
    return adjusted(found)
