"""A published site walked through by a browser: under a sub-path of a host, and from its folder.

Needs Debian's chromium (`apt-get install chromium`); skips where it is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urldefrag

import pytest

from bench.io import replace_folder
from bench.report.eda_page import gallery
from bench.report.site import render_site
from tests.report import sites
from tests.report.test_browser import CHROMIUM, browser  # noqa: F401 - a fixture

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; apt-get install chromium to run the browser tests"
)
PIXEL = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300" + "08" * 64 + "ffc0000b08000100010101"
    "1100ffc4001400010000000000000000000000000000000affc40014100100000000000000000000000000000000"
    "ffda0008010100003f0054ffd9"
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's folder that holds the site in a folder of a folder."""
    root = tmp_path_factory.mktemp("host")
    first, *rest = sites.two_boards(tmp_path_factory.mktemp("offers"))
    shown = gallery("mel", [("IMG_1", PIXEL)], {"IMG_1": "mel"})
    pictured = type(first)(first.study, first.pages, first.offers, (shown,))
    close = sites.closely()
    replace_folder(root / "people" / "some one" / "site", render_site([pictured, *rest, close]))
    return root


@pytest.fixture(scope="module")
def served(root: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/people/some%20one/site/"
        server.shutdown()


@pytest.fixture(scope="module", params=["served", "file"])
def home(request, root) -> str:
    """The site's address: under a sub-path of a host, and as a folder."""
    if request.param == "served":
        return request.getfixturevalue("served")
    return (root / "people" / "some one" / "site").as_uri() + "/"


def test_every_page_is_reached_by_links_alone_with_a_clean_console_and_no_other_host(
    browser,  # noqa: F811
    home,
    root,
):
    context = browser.new_context(accept_downloads=False)
    page = context.new_page()
    complaints: list[str] = []
    asked: set[str] = set()
    page.on("console", lambda message: complaints.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: asked.add(request.url))
    waiting, seen, files = [home + "index.html"], set(), set()
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        page.goto(address)
        found = page.eval_on_selector_all("a[href], link[href]", "all => all.map(one => one.href)")
        for link in {urldefrag(one)[0] for one in found}:
            if link.startswith(home):
                (waiting.append if link.endswith(".html") else files.add)(link)
            else:
                assert link.startswith(("https://", "data:")), link
    context.close()
    assert complaints == []
    assert all(one.startswith((home, "data:")) for one in asked)
    there = {
        path.relative_to(root / "people" / "some one" / "site").as_posix()
        for path in (root / "people" / "some one" / "site").rglob("*")
        if path.is_file()
    }
    reached = {sites.path_in(home, one) for one in seen | files}
    assert reached <= there
    assert there - reached == {"site.json"}


OWN = ["index.html"] + [
    f"groupkfold5/synthetic/{page}"
    for page in ("index.html", "predictions.html", "images.html", "dataset.html")
]
ROWS = ["groupkfold10/synthetic/index.html", "groupkfold10/synthetic/methods/Plain.html"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [*OWN, *ROWS])
@pytest.mark.parametrize("width", [360, 1400])
def test_every_kind_of_page_fits_and_axe_finds_nothing(browser, served, theme, name, width):  # noqa: F811
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        color_scheme=theme, viewport={"width": width, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{served}{name}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    context.close()
    assert found.violations_count == 0, found.generate_report()


def test_the_keyboard_alone_goes_from_the_index_to_a_row_and_back(browser, served):  # noqa: F811
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(f"{served}index.html")

    def follow(address: str) -> None:
        """Tab to the link that leads there, and press Enter."""
        for _ in range(300):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.href || ''").endswith(address):
                break
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{address}")

    follow("groupkfold10/synthetic/index.html")
    follow("groupkfold10/synthetic/methods/Plain.html")
    reached = set()
    for _ in range(300):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(document.activeElement.closest('section') || {}).id || ''"))
        seen = page.evaluate(SEEN)
        assert seen, page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("document.activeElement.closest('footer') !== null"):
            break
    assert {"curves", "confusion", "subgroups", "reproduce"} <= reached
    page.keyboard.press("Control+Home")
    page.goto(page.url.partition("#")[0])
    follow("index.html")
    context.close()


SEEN = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect();
  const x = box.left + Math.min(box.width, innerWidth) / 2, y = box.top + box.height / 2;
  const over = document.elementFromPoint(x, y);
  return !over || one.contains(over) || over.contains(one);
}"""
"""Whether what has the focus is what lies there: no bar covers it."""


def test_a_file_is_downloaded_as_it_is(browser, served, root):  # noqa: F811
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.goto(f"{served}groupkfold5/synthetic/predictions.html")
    with page.expect_download() as waiting:
        page.locator("main a[download]").first.click()
    path = waiting.value.path()
    name = sites.path_in(served, waiting.value.url)
    own = root / "people" / "some one" / "site" / name
    assert Path(path).read_bytes() == own.read_bytes()
    context.close()
