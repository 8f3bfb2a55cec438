"""Pictures of pages for the README: what a browser shows of a page's head, as a small PNG.

    python -m benchmarks.pictures PAGE.html PICTURE.png [--width 1400] [--height 900]

Of synthetic data only. Needs Debian's chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

COLOURS = 128


def main() -> None:
    """Take one picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=900)
    asked = parser.parse_args()
    asked.picture.write_bytes(small_png(taken(asked.page, asked.width, asked.height)))
    print(f"{asked.picture}: {asked.picture.stat().st_size:,} bytes")


def taken(page: Path, width: int, height: int) -> bytes:
    """The head of a page in its light theme, as PNG."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            offline=True, color_scheme="light", viewport={"width": width, "height": height}
        )
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        shot = tab.screenshot()
        browser.close()
    return shot


def small_png(png: bytes) -> bytes:
    """The same with few colours, as pages of text need no more."""
    from PIL import Image

    few = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS)
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
