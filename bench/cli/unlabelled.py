"""What `--unlabelled DIR` asks for: a folder proven apart from the test parts, as stores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.cli.board import Bench


def unlabelled_stores(bench: Bench, folder: Path, chains: Iterable[Any]) -> dict[Any, Any]:
    """The folder's images after each chain. Raises DataError where one is tested or chosen by."""
    from bench.data.building import build_store
    from bench.data.unlabelled import open_unlabelled, refuse_leaks
    from bench.protocol import PARTS

    source = open_unlabelled(folder)
    asking = [PARTS.index("val"), PARTS.index("test")]
    asked = bench.roles.image_ids[np.isin(bench.roles.parts, asking).any(axis=1)]
    click.echo(refuse_leaks(source, bench.source, asked.tolist()))
    return {chain: build_store(source, chain) for chain in chains}
