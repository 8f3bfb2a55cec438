"""Screenshots of pages for the README: a page in a browser as a small PNG.

    python -m benchmarks.pictures PAGE.html PICTURE.png [--width 1400] [--height 900] [--at SECTION]

Of synthetic data only. Needs Debian's chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

COLOURS = 256


def main() -> None:
    """Take one picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--at", default="", help="id of the section to begin at; else the head")
    options = parser.parse_args()
    options.picture.write_bytes(
        small_png(taken(options.page, options.width, options.height, options.at))
    )
    print(f"{options.picture}: {options.picture.stat().st_size:,} bytes")


def taken(page: Path, width: int, height: int, section: str) -> bytes:
    """A page from a section on, or its head, in its light theme, as PNG."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            offline=True, color_scheme="light", viewport={"width": width, "height": height}
        )
        tab = context.new_page()
        tab.goto(page.resolve().as_uri() + (f"#{section}" if section else ""))
        shot = tab.screenshot()
        browser.close()
    return shot


def small_png(png: bytes) -> bytes:
    """The same with few colours: rare ones, too, since those are the classes'."""
    from PIL import Image

    whole = Image.open(io.BytesIO(png)).convert("RGB")
    few = whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
