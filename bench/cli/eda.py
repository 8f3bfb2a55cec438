"""`data eda`: one page that shows what is in a dataset before a day of training is spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.places import PROTOCOLS, refuse_unwritable, results_option, source_options
from bench.data.sources import DataChoice

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.data.sources import Source
    from bench.estimates import Association
    from bench.protocol import Protocol, Roles
    from bench.report.explored import Explored

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
    data: DataChoice,
    results: Path,
    protocol_name: str,
    to: Path | None,
    *,
    no_images: bool,
) -> None:
    """Write a page: classes, groups, pictures, metadata against diagnosis, folds."""
    from bench.report.eda import eda_json, eda_page
    from bench.report.html import render_page, write

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


def explore(data: DataChoice, protocol_name: str, *, images: bool) -> Explored:
    """Everything the page shows, worked out."""
    import numpy as np

    from bench.data.images import look_for_images
    from bench.data.metadata_model import metadata_rows
    from bench.protocol import load_protocol
    from bench.report.explored import Explored
    from bench.score.references import references
    from bench.score.table import score
    from bench.splits.balance import balance_table

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
    return Explored(
        manifest=manifest,
        group_ids=roles.group_ids,
        quality=quality,
        pictures=pictures,
        associations=associations(manifest.table, manifest.labels, roles.group_ids, quality),
        board=score(protocol, manifest, roles, rows, {}),
        balance={part: balance_table(roles, manifest, part) for part in ("test", "val", "train")},
        frozen=frozen,
    )


def folds(protocol: Protocol, source: Source) -> tuple[Roles, bool]:
    """The frozen roles of a dataset; where there are none, roles drawn by the protocol's rules.

    Those are dealt by the greedy, whoever deals the protocol's own: it takes any number of groups.
    Raises ProtocolError for a protocol with arms or a control: its folds overlap on purpose.
    """
    from bench.cli.frozen import known_pairs, missed_pairs
    from bench.errors import ProtocolError
    from bench.protocol import load_roles
    from bench.splits.freeze import freeze

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
    source: Source, rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, list[tuple[str, bytes]]]]:
    """Measure every picture; small copies of some: by class, and those that stand out."""
    from rich.console import Console
    from rich.progress import Progress

    from bench.data.images import find_images, loader
    from bench.data.quality import MEASURES, examples, measure_images, thumbnail

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
