"""`data`: info, audit, eda, duplicates, preprocess, cache."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import refuse_unwritable, results_option, source_options
from bench.data.open import DatasetSpec
from bench.settings import PROTOCOLS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.data.audit import Audit, KnownPairs
    from bench.data.open import OpenDataset
    from bench.dataset import Dataset
    from bench.leaderboard import Association
    from bench.protocol import Protocol, Roles
    from bench.report.eda_tables import EdaReport


@click.command("audit")
@source_options
@click.option("--protocol", "-p", "protocol_name", help="Duplicates its roles unite are known.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("audit"),
    show_default=True,
    help="Folder for index.html and audit.json. The page shows images of the dataset.",
)
@click.option(
    "--merge-groups",
    "merged",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write groups that unite sure duplicates, to be given as --groups.",
)
@click.option(
    "--near/--no-near",
    default=True,
    show_default=True,
    help="Search for near duplicates, too; of 400,000 images this takes most of the time.",
)
def audit(
    data: DatasetSpec,
    protocol_name: str | None,
    folder: Path,
    merged: Path | None,
    near: bool,  # noqa: FBT001
) -> int:
    """List what is wrong with metadata and images. Exit 1 where it must not be ignored."""
    from bench.data.audit import audit_json
    from bench.report.audit_page import render_audit
    from bench.report.render import write

    refuse_unwritable("--to", folder / "index.html", folder / "audit.json")
    if merged is not None:
        refuse_unwritable("--merge-groups", merged)
    done = _audit(data, protocol_name, near=near)
    if merged is not None:
        _write_groups(done, merged)
    write({"audit.json": audit_json(done), "index.html": render_audit(done)}, folder)
    _print(done)
    click.echo(f"audit: {folder / 'index.html'}")
    return 1 if done.failed else 0


def _audit(data: DatasetSpec, protocol_name: str | None, *, near: bool) -> Audit:
    """The audit, with a bar a stage."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.data.audit import audit as audit_data

    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        stages: dict[str, TaskID] = {}

        def advance(stage: str, done: int, whole: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=whole)
            bars.update(stages[stage], completed=done)

        def know(manifest: Dataset) -> KnownPairs:
            return _known_pairs(manifest, protocol_name)

        return audit_data(data, know, advance, near=near)


def _known_pairs(manifest: Dataset, protocol_name: str | None) -> KnownPairs:
    """What the committed lists say, united as a protocol's roles have it, else as the lists do."""
    from bench.data.audit import KnownPairs
    from bench.folds.assign import join_groups
    from bench.protocol import load_protocol, load_roles
    from bench.workflows.protocols import known_pairs, missed_pairs

    ids = manifest.image_ids.tolist()
    listed = known_pairs(None, manifest.name, ids)
    if protocol_name is None:
        group_of = dict(zip(ids, join_groups(manifest, listed), strict=True))
    else:
        roles = load_roles(load_protocol(protocol_name, PROTOCOLS), manifest.name, PROTOCOLS)
        group_of = dict(zip(roles.image_ids, roles.group_ids, strict=True))
    united = frozenset((a, b) for a, b in listed if group_of.get(a, a) == group_of.get(b, b))
    return KnownPairs(group_of, united, missed_pairs(manifest.name, ids))


def _write_groups(done: Audit, path: Path) -> None:
    """A group file in which all pairs that are sure, and those that are known, are united."""
    import pandas as pd

    from bench.folds.assign import join_groups
    from bench.io import write_atomically

    manifest = done.manifest
    groups = join_groups(manifest, [*done.united, *sorted(done.known.united)])
    table = pd.DataFrame({"image_id": manifest.image_ids, "group_id": groups})
    write_atomically(path, table.to_csv(index=False, lineterminator="\n").encode())
    united = len(set(manifest.native_groups.tolist())) - len(set(groups.tolist()))
    click.echo(f"groups: {path} ({united} fewer than the dataset's own)")


def _print(done: Audit) -> None:
    """The findings in the terminal."""
    from bench.errors import listing

    manifest = done.manifest
    click.echo(
        f"{manifest.title}{' (SYNTHETIC data)' if manifest.synthetic else ''}: {len(manifest)} rows"
        f" used, {done.images_read} image files read"
    )
    for finding in done.findings:
        mark = "MUST BE MENDED" if finding.about.grave else "note"
        click.echo(f"{mark}: {finding.about.title}: {finding.count}")
        named: list[Any] = [f"{f.where} {f.what}".strip() for f in finding.named]
        more = finding.count - len(named)
        click.echo(f"  {listing(named)}{f' and {more} more' if more else ''}")
    if done.pairs or done.known.united:
        click.echo(f"duplicates across the dataset's own groups: {done.standing.told}")
    if not done.findings:
        click.echo("nothing is wrong, as far as was looked")


@click.command("duplicates")
@source_options
@click.option("--protocol", "-p", "protocol_name", help="Name pairs that its roles leave apart.")
@click.option(
    "--thorough",
    is_flag=True,
    help="Look for further photographs of a lesion, too: minutes, and 170 kB an image in memory.",
)
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV for the pairs, as protocol freeze --duplicates reads it once a person has looked.",
)
def duplicates(
    data: DatasetSpec,
    protocol_name: str | None,
    file: Path | None,
    *,
    thorough: bool,
) -> int:
    """Find pictures that stand in a dataset under two groups. Exit 1 if a sure pair does."""
    from bench.data.duplicates.near import format_pairs
    from bench.io import write_atomically

    if file is not None:
        refuse_unwritable("--to", file)
    source = data.open()
    group_of = _groups(source.manifest, protocol_name)
    found = _search(source, thorough=thorough)
    if file is not None:
        write_atomically(file, format_pairs(found.pairs).encode())
    click.echo(f"{source.manifest.title}: {found.method}")
    click.echo(
        f"{found.candidates} candidates across groups, {len(found.pairs)} kept; "
        f"{found.within} near pairs within groups; {len(found.blank)} blank images"
    )
    apart = found.apart(group_of)
    sure = [pair for pair in apart if pair.verdict == "sure"]
    where = f"the roles of {protocol_name}" if protocol_name else "the dataset's own groups"
    click.echo(f"{where} leave {len(apart)} pairs apart, {len(sure)} of them sure:")
    for pair in sorted(apart, key=lambda pair: (pair.verdict != "sure", -pair.correlation)):
        click.echo(
            f"{pair.verdict}  {pair.image_a} ({pair.lesion_a})  {pair.image_b} ({pair.lesion_b})  "
            f"{pair.phash_distance} bits, {pair.inliers} spots, correlation {pair.correlation:.2f}"
        )
    return 1 if sure else 0


def _groups(manifest: Any, protocol_name: str | None) -> Mapping[str, str]:
    """The group of every image: as a protocol's roles have it, else the dataset's own."""
    from bench.protocol import load_protocol, load_roles

    if protocol_name is None:
        return dict(zip(manifest.image_ids, manifest.native_groups, strict=True))
    roles = load_roles(load_protocol(protocol_name, PROTOCOLS), manifest.name, PROTOCOLS)
    roles.refuse_other_roster(manifest)
    return dict(zip(roles.image_ids, roles.group_ids, strict=True))


def _search(source: Any, *, thorough: bool) -> Any:
    """The search, with a bar a stage."""
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.data.duplicates.near import find_near_duplicates
    from bench.data.duplicates.search import find_duplicates
    from bench.data.images import find_images, loader

    console = Console(stderr=True)
    load = loader(find_images(source))
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        stages: dict[str, TaskID] = {}

        def advance(stage: str, done: int, whole: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=whole)
            bars.update(stages[stage], completed=done)

        if thorough:
            return find_duplicates(source.manifest, load, np.random.default_rng(0), advance)
        return find_near_duplicates(source.manifest, load, advance)


SEED = 20180814
EXAMPLES = 6
COLUMNS = ("localization", "sex", "dx_type", "source", "age")


@click.command("eda")
@source_options
@results_option
@click.option(
    "--protocol", "-p", "protocol_name", default="groupkfold5", show_default=True,
    help="Whose folds are shown and used.",
)  # fmt: skip
@click.option("--no-images", is_flag=True, help="Look at the metadata only.")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="File of the page.")
def eda(
    data: DatasetSpec,
    results: Path,
    protocol_name: str,
    to: Path | None,
    *,
    no_images: bool,
) -> None:
    """Write a page: classes, groups, pictures, metadata against diagnosis, folds."""
    from bench.report.eda_page import eda_json, eda_page
    from bench.report.render import render_page, write

    if to is not None and to.suffix.lower() != ".html":
        raise click.UsageError(f"--to {to}: give a name that ends in .html; a .json lies beside it")
    # before the work; the dataset's own folder is known only after its metadata has been read
    refuse_unwritable("--results" if to is None else "--to", *_files(to or results / "data" / "x"))
    explored = explore(data, protocol_name, images=not no_images)
    where = to or results / "data" / explored.manifest.name / "eda.html"
    page = render_page("eda.html.j2", page=eda_page(explored))
    write({where.name: page, f"{where.stem}.json": eda_json(explored)}, where.parent)
    click.echo(f"EDA: {where}")


def _files(page: Path) -> tuple[Path, Path]:
    """The page, and the JSON beside it."""
    return page, page.with_suffix(".json")


def explore(data: DatasetSpec, protocol_name: str, *, images: bool) -> EdaReport:
    """Everything the page shows, worked out."""
    import numpy as np

    from bench.data.exploration import metadata_rows
    from bench.data.images import look_for_images
    from bench.folds.balance import balance_table
    from bench.protocol import load_protocol
    from bench.report.eda_tables import EdaReport
    from bench.score.leaderboard import score
    from bench.score.reference_rows import references

    protocol = load_protocol(protocol_name, PROTOCOLS)
    source = data.open(images=images)
    manifest = source.manifest
    roles, frozen = folds(protocol, source)
    quality: pd.DataFrame | None = None
    pictures: dict[str, list[tuple[str, bytes]]] = {}
    if images and look_for_images(source.folder, set(manifest.image_ids.tolist())).files:
        quality, pictures = look(source, np.random.default_rng(SEED))
    rows = metadata_rows(manifest, roles, protocol, quality)
    rows += references(protocol, manifest, roles, protocol.run.seeds)
    return EdaReport(
        manifest=manifest,
        group_ids=roles.group_ids,
        quality=quality,
        pictures=pictures,
        associations=associations(manifest.table, manifest.labels, roles.group_ids, quality),
        board=score(protocol, manifest, roles, rows, {}),
        balance={part: balance_table(roles, manifest, part) for part in ("test", "val", "train")},
        frozen=frozen,
    )


def folds(protocol: Protocol, source: OpenDataset) -> tuple[Roles, bool]:
    """The frozen roles of a dataset; where there are none, roles drawn by the protocol's rules.

    Those are dealt by the greedy, whoever deals the protocol's own: it takes any number of groups.
    Raises ProtocolError for a protocol with arms or a control: its folds overlap on purpose.
    """
    from bench.errors import ProtocolError
    from bench.folds.kinds import freeze
    from bench.protocol import load_roles
    from bench.workflows.protocols import known_pairs, missed_pairs

    manifest = source.manifest
    if protocol.split.arms or protocol.split.control:
        raise ProtocolError(f"--protocol {protocol.name}: has arms or is a control; give another")
    if manifest.name not in protocol.roles:
        split = protocol.split.model_copy(update={"dealer": "greedy"})
        ids = manifest.image_ids.tolist()
        missed = ((pair.image_a, pair.image_b) for pair in missed_pairs(manifest.name, ids))
        pairs = [*known_pairs(None, manifest.name, ids), *missed]
        return freeze(manifest, split, pairs), False
    roles = load_roles(protocol, manifest.name, PROTOCOLS)
    roles.refuse_other_roster(manifest)
    return roles, True


def look(
    source: OpenDataset, rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, list[tuple[str, bytes]]]]:
    """Measure every picture; small copies of some: by class, and those that stand out."""
    from rich.console import Console
    from rich.progress import Progress

    from bench.data.exploration import MEASURES, examples, measure_images, thumbnail
    from bench.data.images import find_images, loader

    files = find_images(source)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking at pictures", total=len(files))
        quality = measure_images(files, lambda: bar.advance(task))
    table = source.manifest.table.assign(group=source.manifest.native_groups)
    chosen = examples(table, EXAMPLES, rng)
    for measure in MEASURES:
        order = quality[measure].sort_values(kind="stable").index
        chosen[f"least {measure}"] = list(order[:EXAMPLES])
        chosen[f"most {measure}"] = list(order[::-1][:EXAMPLES])
    load = loader(files)
    return quality, {
        key: [(image_id, thumbnail(load(image_id))) for image_id in ids]
        for key, ids in chosen.items()
    }


def associations(
    table: pd.DataFrame, labels: np.ndarray, group_ids: np.ndarray, quality: pd.DataFrame | None
) -> dict[str, Association]:
    """Every attribute, every gap, and every measure of quality against the diagnosis; the measures
    against the source, too. One family for Holm."""
    import numpy as np
    import pandas as pd

    from bench.score.association import adjusted, associate

    found: dict[str, Association] = {}
    groups = group_ids.astype(str)

    def add(key: str, values: pd.Series, classes: np.ndarray, rows: np.ndarray) -> None:
        rng = np.random.default_rng((SEED, len(found)))
        found[key] = associate(key, values[rows], classes[rows], groups[rows], rng)

    everyone = np.ones(len(table), dtype=bool)
    for column in COLUMNS:
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


BYTES = 1000.0


@click.command("preprocess")
@click.argument(
    "images",
    nargs=-1,
    required=True,
    metavar="IMAGE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures: <image>.png of each.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    help="A switch of the chain: hair_removal, colour_constancy, clahe, image_size; repeatable. "
    "Default: all of them, at their usual values.",
)
def preprocess(images: tuple[Path, ...], folder: Path, settings: tuple[str, ...]) -> None:
    """Show an image before, its hair mask, and after every step; say what each step costs."""
    from PIL import Image

    from bench.data.images import decode, read_picture
    from bench.data.preprocess import preprocessing, step_panel, trace_steps
    from bench.errors import DataError
    from bench.recipe import Recipe, parse_overrides

    usual = {"hair_removal": True, "colour_constancy": 6, "clahe": 2}
    chain = preprocessing(Recipe().with_overrides(usual | parse_overrides(settings)))
    _refuse_twins(images)
    spent: dict[str, list[float]] = defaultdict(list)
    folder.mkdir(parents=True, exist_ok=True)
    for path in images:
        try:
            stages = trace_steps(read_picture(path), decode, chain)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: {getattr(error, 'strerror', None) or error}; give whole JPEG or PNG files"
            ) from None
        for stage in stages:
            if stage.seconds is not None:
                spent[stage.name].append(stage.seconds)
        Image.fromarray(step_panel(stages)).save(folder / f"{path.stem}.png")
        share = next((s.image.mean() / 255 for s in stages if s.name == "hair mask"), 0.0)
        click.echo(f"{folder / path.stem}.png  hair on {share:.1%}")
    _print_cost(spent)


def _refuse_twins(images: tuple[Path, ...]) -> None:
    from bench.errors import BenchError, listing

    names = [path.stem for path in images]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise BenchError(f"images of the same name: {listing(twins)}; show them one at a time")


def _print_cost(spent: dict[str, list[float]]) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    table = Table("step", "ms an image (median)", "most")
    for name, seconds in spent.items():
        millis = np.array(seconds) * 1000
        table.add_row(name, f"{np.median(millis):.2f}", f"{millis.max():.2f}")
    Console().print(table)


@click.command("cache")
@click.option(
    "--verify", is_flag=True, help="Check every store against its hash. Exit 1 if any fails."
)
@click.option("--clear", is_flag=True, help="Remove all stores that no build is at work on.")
@click.option("--unfinished", is_flag=True, help="With --clear: remove only what is not whole.")
def cache(*, verify: bool, clear: bool, unfinished: bool) -> int:
    """Show which preprocessed images are stored, how large they are; check or remove them."""
    from rich.console import Console
    from rich.table import Table

    from bench.cli.terminal import PIPE_WIDTH
    from bench.data.cache import caches_folder, is_sound, list_caches, remove

    if unfinished and not clear:
        raise click.UsageError("--unfinished goes with --clear")
    stores = list_caches()
    failed = 0
    table = Table("store", "dataset", "images", "steps", "size", "state")
    for cached in stores:
        state: str = (
            cached.state if cached.state != "unreadable" else "of another version, or damaged"
        )
        if clear and (cached.state != "whole" or not unfinished):
            state = "removed" if remove(cached) else "kept: a build is at work on it"
        elif verify and cached.state == "whole":
            sound = is_sound(cached.folder)
            state = "sound" if sound else "DAMAGED: the next run makes it again"
            failed += not sound
        table.add_row(cached.folder.name, *_what(cached), _size(cached.size), state)
    click.echo(f"{caches_folder()}: {len(stores)} stores, {_size(sum(s.size for s in stores))}")
    if stores:
        console = Console()
        Console(width=None if console.is_terminal else PIPE_WIDTH).print(table)
    return 1 if failed else 0


def _what(cached: Any) -> tuple[str, str, str]:
    """Dataset, images and steps of a store, as far as they are known."""
    from bench.data.preprocess import described

    if cached.index is None:
        return "", "", ""
    index = cached.index
    return index.dataset, str(len(index.image_ids)), described(index.chain)


def _size(count: float) -> str:
    """A number of bytes for people: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < BYTES:
            return f"{count:.4g} {unit}"
        count /= BYTES
    return f"{count:.4g} TB"


@click.group()
def data() -> None:
    """Show what is in a dataset."""


data.add_command(audit)
data.add_command(preprocess)
data.add_command(cache)
data.add_command(duplicates)
data.add_command(eda)


@data.command("info")
@source_options
def info(data: DatasetSpec) -> None:
    """Say who is in a dataset: images, groups, classes, what is missing. Needs no images."""
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    manifest = data.open(images=False).manifest
    click.echo(f"{manifest.title} ({manifest.name}){', SYNTHETIC' if manifest.synthetic else ''}")
    click.echo(f"licence: {manifest.licence}\ncitation: {manifest.citation}")
    click.echo(f"roster sha256: {manifest.roster_sha256}")
    click.echo(f"groups are {manifest.unit}s; {manifest.ungrouped} images without a group id")
    if manifest.ungrouped:
        click.echo("grouping incomplete: each of these images counts as a group of its own")
    frame = manifest.table.assign(group=manifest.native_groups)
    table = Table("class", "images", "groups", "lesions")
    for label in (*manifest.classes, None):
        rows = frame if label is None else frame[frame["label"] == label]
        lesions = rows["lesion_id"].nunique() if rows["lesion_id"].notna().any() else "n/a"
        counts = (len(rows), rows["group"].nunique(), lesions)
        table.add_row(label or "all", *map(str, counts))
    Console().print(table)
    missing = {c: int(pd.isna(frame[c]).sum()) for c in ("age", "sex", "localization", "source")}
    click.echo("missing: " + ", ".join(f"{column} {count}" for column, count in missing.items()))
