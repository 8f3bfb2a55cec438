"""Paths of the project, environment variables and the disclaimer."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
"""The checkout, or the folder of an installed package."""

DATA = PACKAGE / "_data" if (PACKAGE / "_data").is_dir() else ROOT
"""Folder of protocols, baselines and page templates: the checkout, or inside a wheel."""

BENCH = ROOT / "bench.py" if DATA == ROOT else DATA / "lesion_bench.py"
"""The script that job processes run."""

PROTOCOLS = Path(os.environ.get("BENCH_PROTOCOLS") or DATA / "protocols")
BASELINES = DATA / "baselines"
COMMITTED = BASELINES / "results"
REPORTS = DATA / "reports"
DEFAULT_RESULTS = Path("results")
JOB_LIST = "plan.jobs"
DEFAULT_METHODS = ("custom_cnn", "resnet18", "efficientnet_phase4")
DEFAULT_GRID = ("optimizer=adamw,sgd", "lr=3e-4,1e-3,3e-3,1e-2")
"""Grid of `sweep`."""


def workspace() -> Path:
    """Folder of the protocols, roles, caches and settings that a user makes."""
    return Path(os.environ.get("BENCH_WORKSPACE") or "lesion-bench")


DISCLAIMER = (
    "Research software, not a medical device: its predictions are not a diagnosis and must not "
    "decide about anyone's care. See a doctor about any spot that worries you."
)
