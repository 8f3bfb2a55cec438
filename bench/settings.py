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

DISCLAIMER = (
    "Research software, no medical device: what it says of a picture is no diagnosis and must not "
    "decide about anyone's care. See a doctor about any spot that worries you."
)
