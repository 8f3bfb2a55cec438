"""What is known of a dataset under a protocol, gathered for its page."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench.cli.places import PROTOCOLS
from bench.estimates import Leaderboard
from bench.report.study import KnownPairs, Study

if TYPE_CHECKING:
    import pandas as pd

    from bench.cli.board import Bench
    from bench.manifest import Manifest

PARTS = ("test", "val", "train")


def study_of(bench: Bench, board: Leaderboard) -> Study:
    """Everything the page of data and protocol shows, worked out. Needs no images."""
    from bench.data.faults import KINDS
    from bench.splits.balance import balance_table
    from bench.splits.detectable import Assumptions, detectable_table

    protocol, manifest, roles = bench.protocol, bench.source.manifest, bench.roles
    passed = Counter(KINDS[fault.kind].title for fault in bench.source.left_out)
    assumed = Assumptions(level=protocol.interval.level)
    return Study(
        protocol=protocol,
        manifest=manifest,
        roles=roles,
        board=board,
        left_out=dict(passed),
        balance={part: balance_table(roles, manifest, part) for part in PARTS},
        detectable=detectable_table(roles, manifest, protocol, assumed),
        assumed=asdict(assumed),
        pairs=committed_pairs(manifest),
        proven=bench.proven,
    )


def committed_pairs(manifest: Manifest) -> KnownPairs:
    """The committed lists of a dataset's duplicates: those frozen, and those found later."""
    return KnownPairs(
        _pairs(f"*/{manifest.name}_duplicates.csv", manifest),
        _pairs(f"*/{manifest.name}_duplicates_missed.csv", manifest),
    )


def _pairs(pattern: str, manifest: Manifest) -> pd.DataFrame:
    """The lists that lie beside the protocols, of pairs whose images the dataset has."""
    import pandas as pd

    tables = [
        pd.read_csv(path, dtype={"image_a": str, "image_b": str})
        for path in sorted(PROTOCOLS.glob(pattern))
    ]
    if not tables:
        return pd.DataFrame({"image_a": [], "image_b": []}, dtype=str)
    table = pd.concat(tables, ignore_index=True)
    known = set(manifest.image_ids.tolist())
    mine = table[["image_a", "image_b"]].map(known.__contains__).all(axis=1)
    return table[mine].reset_index(drop=True)
