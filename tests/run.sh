#!/usr/bin/env bash
# Installs what the tests need, then runs all checks and the ordinary tests.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 -m venv .venv
.venv/bin/pip install --quiet --requirement requirements-dev.txt

# the browser tests need Debian's chromium; where it cannot be installed they skip and say so
if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes chromium >/dev/null
fi

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports
# one thread a process: the tests share the cores among themselves
OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses 2 "$@"
