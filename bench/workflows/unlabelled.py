"""Image caches of a folder of unlabelled images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.errors import BenchError, listing
from bench.workflows.report import Bench


def refuse_deaf(methods: Sequence[Any]) -> None:
    """Raise BenchError for methods that train themselves, and would not look at the folder."""
    from bench.run.registry import trained_by_engine

    deaf = [method.name for method in methods if not trained_by_engine(method)]
    if deaf:
        raise BenchError(
            f"--unlabelled: {listing(deaf)} trains without the bench's engine, which would make "
            "pseudo-labels; leave the option or the method out"
        )


def unlabelled_stores(bench: Bench, folder: Path, chains: Iterable[Any]) -> dict[Any, Any]:
    """The folder's images after each chain. Raises DataError where one is tested or chosen by."""
    from bench.data.cache import build_cache
    from bench.data.unlabelled import open_unlabelled, refuse_leaks
    from bench.protocol import PARTS

    source = open_unlabelled(folder)
    asking = [PARTS.index("val"), PARTS.index("test")]
    asked = bench.roles.image_ids[np.isin(bench.roles.parts, asking).any(axis=1)]
    click.echo(refuse_leaks(source, bench.source, asked.tolist()))
    return {chain: build_cache(source, chain) for chain in chains}
