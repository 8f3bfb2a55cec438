"""A leaderboard of everything that could go wrong on a page, at once."""

from __future__ import annotations

from dataclasses import replace

from bench.leaderboard import NAN, Estimate, Leaderboard, MetricTable, Rank
from tests.report.boards import CLASSES, dataset, leaderboard

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "javascript:alert(1)",
    '=HYPERLINK("http://evil.example/";"click")',
    "x" * 300,
    "שיטה חדשה 12 \u202egnp.exe",
    "{{ 7 * 7 }} </style></script><b>",
)


def worst() -> Leaderboard:
    """Everything at once: hostile names, synthetic, incomplete, ungrouped, failing, undefined."""
    board = leaderboard()
    classes = (*CLASSES[:5], "</td><script>alert('class')</script>", "\u05e1" * 60)
    renamed = dict(zip(CLASSES, classes, strict=True))
    rows = []
    for index, (one, name) in enumerate(zip(board.rows, HOSTILE, strict=False)):
        table = one.table
        metrics = dict(table.metrics)
        if index == 1:
            metrics["macro_f1"] = Estimate(
                NAN, n=10_015, marks=("incomplete: 3 of 5 folds", "undefined: df, mel")
            )
            metrics["log_loss"] = Estimate(float("inf"), n=10_015)
        per_class = {renamed[key]: dict(value) for key, value in table.per_class.items()}
        per_class["df"]["precision"] = Estimate(NAN, n=0)
        per_class["mel"]["sens_at_spec_90"] = Estimate(NAN, n=1113, marks=("no val predictions",))
        per_class["df"]["auc"] = replace(
            per_class["df"]["auc"], marks=("4 of 5 folds (0, 1, 2, 4)",)
        )
        facts = replace(
            one.facts,
            variant={"image_size": 64, "note": name} if index == 0 else {},
            badges=("from scratch", name[:30]),
            notes=(f"fold 3 failed: {name}",),
            command=f"python bench.py run --method '{name}'",
            passport=f"{name}\n</pre><script>alert('passport')</script>",
            environment={name: name},
            hashes={"row": name},
            unranked="incomplete: 3 of 5 folds" if index == 1 else one.facts.unranked,
        )
        rows.append(
            replace(
                one,
                name=name,
                method=f"{name[:20]} method",
                kind="submitted" if index == 2 else one.kind,
                seeds=(0, 1, 2) if index == 0 else one.seeds,
                folds=(0, 2, 4) if index == 1 else one.folds,
                missing=((0, 0, 1), (0, 0, 3)) if index == 1 else (),
                complete=index != 1,
                rank=Rank() if index == 1 else one.rank,
                clears_reference=index == 0,
                table=MetricTable(metrics, per_class),
                seed_sd=dict.fromkeys(one.by_fold, 0.0123),
                facts=facts,
            )
        )
    renames = dict(zip((one.name for one in board.rows), HOSTILE, strict=False))
    facts = dataset(
        name=HOSTILE[0],
        title=f"Cohort {HOSTILE[0]}",
        synthetic=True,
        ungrouped=1234,
        licence=HOSTILE[1],
        citation='javascript:alert(1) http://plain.example https://doi.org/10.1/x"onclick=alert(1)',
        images_by_class={renamed[key]: n for key, n in board.dataset.images_by_class.items()},
        groups_by_class={renamed[key]: n for key, n in board.dataset.groups_by_class.items()},
    )
    comparisons = tuple(
        replace(
            one,
            a=renames[one.a],
            b=renames[one.b],
            p=NAN,
            p_adjusted=NAN,
            methods="not tested",
            trainings=0,
            basis=f"{renames[one.b]} is a reference row",
        )
        for one in board.comparisons
    )
    return replace(
        board,
        protocol_title=f"Five folds {HOSTILE[6]}",
        classes=classes,
        rows=tuple(rows),
        dataset=facts,
        comparisons=comparisons,
        best_reference=HOSTILE[3],
        baseline=renames[board.baseline],
        tie_groups=tuple(tuple(renames[one] for one in group) for group in board.tie_groups),
        mean_ranks={renames[one]: rank for one, rank in board.mean_ranks.items()},
    )
