"""How large a site is, and how long it takes to make, to make again, and to open.

    python -m benchmarks.site --results results [--data DIR] [--also DIR ...]

Prints sizes by kind of file, the seconds of publishing and of publishing again, and what the
largest leaderboard takes to open in chromium, where there is one.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.cli.report import publish
from benchmarks.machine import described


def main() -> None:
    """Publish twice, and look at what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", default="results")
    parser.add_argument("--data")
    parser.add_argument("--also", action="append", default=[])
    asked = parser.parse_args()
    words = ["--results", asked.results]
    words += ["--data", asked.data] if asked.data else []
    words += [word for folder in asked.also for word in ("--also", folder)]
    print(described("jinja2", "vl-convert-python"))
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch, "site")
        for what in ("published", "published again"):
            began, spent = time.perf_counter(), time.process_time()
            publish.main(["--to", str(site), *words], standalone_mode=False)
            wall, cpu = time.perf_counter() - began, time.process_time() - spent
            print(f"{what}: {wall:.1f} s ({cpu:.1f} s of processor)")
        sizes(site)
        opened(site)


def sizes(site: Path) -> None:
    """Files and bytes by kind."""
    files = [path for path in site.rglob("*") if path.is_file()]
    count = Counter(path.suffix for path in files)
    for kind, number in sorted(count.items()):
        own = [path.stat().st_size for path in files if path.suffix == kind]
        print(
            f"{kind or 'no suffix':>10}: {number:4d} files, {sum(own) / 1e6:7.2f} MB, "
            f"largest {max(own) / 1e6:.2f} MB"
        )


def opened(site: Path) -> None:
    """Seconds until the largest leaderboard is loaded."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return
    from playwright.sync_api import sync_playwright

    largest = max(site.glob("*/*/index.html"), key=lambda path: path.stat().st_size)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for page in (site / "index.html", largest):
            tab = browser.new_page()
            began = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="load")
            wall = time.perf_counter() - began
            size = page.stat().st_size / 1e6
            print(f"opened {page.relative_to(site)} ({size:.2f} MB): {wall:.2f} s")
        browser.close()


if __name__ == "__main__":
    main()
