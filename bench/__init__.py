"""Patient-level cross-validation for skin-lesion classifiers.

    import bench

    b = bench.open("groupkfold5", data="ham10000/")   # protocol, dataset, frozen folds
    b.run(["resnet18", "mine.py"])                    # train on every fold; resumable
    board = b.score()                                 # metrics with cluster-bootstrap intervals
    bench.evaluate(y_true, probs, groups)             # the same for plain arrays

Names are loaded when first used: importing `bench` loads neither pandas nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api import Bench, compare, evaluate, load_predictor, open, publish  # noqa: A004
    from bench.errors import BenchError
    from bench.leaderboard import ComparisonReport, Estimate, Leaderboard
    from bench.method import FoldTask, Method, Recipe
    from bench.predictions import Predictions

__version__ = "0.1.0"
__all__ = [
    "Bench",
    "BenchError",
    "ComparisonReport",
    "Estimate",
    "FoldTask",
    "Leaderboard",
    "Method",
    "Predictions",
    "Recipe",
    "compare",
    "evaluate",
    "load_predictor",
    "open",
    "publish",
]
_HOME = {
    "BenchError": "bench.errors",
    "ComparisonReport": "bench.leaderboard",
    "Estimate": "bench.leaderboard",
    "FoldTask": "bench.method",
    "Leaderboard": "bench.leaderboard",
    "Method": "bench.method",
    "Predictions": "bench.predictions",
    "Recipe": "bench.method",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "bench.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
