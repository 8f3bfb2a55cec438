"""The page in a real browser: network cut off, console clean, by mouse and by keyboard, axe clean.

Needs Debian's chromium (`apt-get install chromium`); skips where it is absent.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from bench.report.comparison_page import render_comparison
from bench.report.render import write
from tests.report.comparisons import compared

pytest.importorskip("playwright", reason="playwright is in requirements-dev.txt")
from typing import Self

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; apt-get install chromium to run the browser tests"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def worst_folder(worst_files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("worst")
    write(worst_files, where)
    return where


@pytest.fixture(scope="module")
def compared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("compared")
    write(render_comparison(compared("a", "b", "<i>c")), where)
    return where


class Visit:
    """A page opened with the network cut off, and what it complained of or asked for."""

    def __init__(self, browser: Browser, folder: Path, **options) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto((folder / "index.html").as_uri())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def names(page: Page, section: str = "#ranking") -> list[str]:
    return page.locator(f"{section} tbody a.name").all_inner_texts()


@pytest.mark.parametrize("which", ["folder", "worst_folder", "compared_folder"])
@pytest.mark.parametrize("width", [360, 1600])
def test_it_opens_quietly_without_network_and_fits(browser, which, width, request):
    where = request.getfixturevalue(which)
    with Visit(browser, where, viewport={"width": width, "height": 900}) as visit:
        visit.page.wait_for_load_state("load")
        assert visit.complaints == []
        assert visit.asked == [(where / "index.html").as_uri()]
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("which", "theme"),
    [
        ("folder", "light"),
        ("folder", "dark"),
        ("worst_folder", "dark"),
        ("compared_folder", "light"),
        ("compared_folder", "dark"),
    ],
)
def test_axe_finds_nothing(browser, which, theme, request):
    from axe_playwright_python.sync_playwright import Axe

    where = request.getfixturevalue(which)
    with Visit(
        browser, where, color_scheme=theme, viewport={"width": 1280, "height": 900}
    ) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found = Axe().run(visit.page, options={"resultTypes": ["violations"]})
        assert found.violations_count == 0, found.generate_report()


RULES = """[...document.querySelectorAll("#ranking tbody tr")].slice(0, -1).map(row =>
  ["th.who", "td.rank"].map(cell => row.querySelector(cell).getBoundingClientRect())
    .map(box => [Math.floor(box.left) + 4, Math.floor(box.bottom)]))"""
"""Where the rule below a row lies, under its name and under its rank."""


def test_the_rule_below_a_row_is_drawn_under_its_name_too(browser, folder):
    with Visit(browser, folder, viewport={"width": 1400, "height": 3000}) as visit:
        for tenths in range(10):  # wherever between two pixels a row ends
            visit.page.evaluate(
                "end => { document.querySelector('#ranking tbody td').style.paddingBottom = end }",
                f"{200 + tenths / 10}px",
            )
            drawn = Image.open(io.BytesIO(visit.page.screenshot())).convert("L")
            for named, ranked in visit.page.evaluate(RULES):
                darkest = [
                    min(drawn.getpixel((x, y + off)) for off in range(-2, 2))
                    for x, y in (named, ranked)
                ]
                assert darkest[0] == darkest[1], tenths


def test_sorting_by_click(browser, board, folder):
    order = [row.name for row in board.rows]
    with Visit(browser, folder) as visit:
        assert names(visit.page) == order
        heading = visit.page.locator("#ranking th", has_text="Accuracy").filter(
            has_not_text="Balanced"
        )
        heading.locator("button").click()
        by_value = sorted(board.rows, key=lambda row: -row.table.metrics["accuracy"].value)
        assert names(visit.page) == [row.name for row in by_value]
        assert heading.get_attribute("aria-sort") == "descending"
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        shown = [
            {row.name: row for row in board.rows}[name].table.metrics["accuracy"].value
            for name in names(visit.page)
        ]
        assert shown == sorted(shown)
        assert visit.complaints == []


def test_sorting_by_keyboard_puts_lower_losses_first(browser, board, folder):
    with Visit(browser, folder) as visit:
        visit.page.locator("#ranking th", has_text="Log loss").locator("button").focus()
        visit.page.keyboard.press("Enter")
        losses = sorted(board.rows, key=lambda row: row.table.metrics["log_loss"].value)
        assert names(visit.page)[:3] == [row.name for row in losses][:3]
        assert "Sorted by Log loss, ascending" in visit.page.locator("[role=status]").inner_text()
        visit.page.keyboard.press("Space")
        heading = visit.page.locator("#ranking [aria-sort]")
        assert heading.get_attribute("aria-sort") == "descending"


def test_undefined_stays_last_in_both_directions(browser, worst, worst_folder):
    unsure = worst.rows[1].name
    with Visit(browser, worst_folder) as visit:
        button = visit.page.locator("#ranking th.lead button")
        for _ in range(2):
            button.click()
            assert names(visit.page)[-1] == unsure


def test_the_theme_follows_the_system_and_then_the_reader(browser, folder):
    ground = "getComputedStyle(document.body).backgroundColor"
    with Visit(browser, folder, color_scheme="dark") as visit:
        dark = visit.page.evaluate(ground)
        visit.page.get_by_role("button", name="Light page").click()
        light = visit.page.evaluate(ground)
        assert light != dark
        visit.page.reload()
        assert visit.page.evaluate(ground) == light
        visit.page.get_by_role("button", name="Dark page").press("Enter")
        assert visit.page.evaluate(ground) == dark
        assert visit.complaints == []


def test_a_metric_is_chosen_from_the_list(browser, folder):
    with Visit(browser, folder) as visit:
        section = visit.page.locator("#classes")
        assert section.locator("table:visible").count() == 1
        section.get_by_label("Class metric").select_option(label="Precision")
        caption = section.locator("table:visible caption")
        assert caption.inner_text().startswith("Precision")


def test_images_of_a_comparison_sort_by_class_and_doubt(browser, compared_folder):
    with Visit(browser, compared_folder) as visit:
        table = visit.page.locator("#discordant table.images:visible")
        table.get_by_role("button", name="Truth").click()
        truths = table.locator("tbody td:nth-child(3)").all_inner_texts()
        assert truths == sorted(truths)
        table.get_by_role("button", name="Difference").press("Enter")
        apart = [float(one) for one in table.locator("tbody td:nth-child(6)").all_inner_texts()]
        assert apart == sorted(apart, reverse=True)
        assert visit.complaints == []


def test_a_rows_name_leads_to_its_recipe(browser, board, folder):
    with Visit(browser, folder) as visit:
        visit.page.locator("#ranking a.name").nth(1).click()
        recipe = visit.page.locator("#row-2")
        assert recipe.get_attribute("open") is not None
        assert recipe.locator("code").first.inner_text() == board.rows[1].facts.command
        assert recipe.locator("code").first.is_visible()


def test_the_keyboard_alone_reaches_everything(browser, folder):
    with Visit(browser, folder) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.className") == "skip"
        reached = set()
        for _ in range(400):
            visit.page.keyboard.press("Tab")
            where = visit.page.evaluate(
                "(document.activeElement.closest('section') || document.activeElement).id"
            )
            reached.add(where)
            if visit.page.evaluate("document.activeElement.closest('footer') !== null"):
                break
        assert {
            "ranking",
            "intervals",
            "pairs",
            "classes",
            "confusion",
            "folds",
            "costs",
        } <= reached
        assert "reproduce" in reached


def test_without_script_every_table_can_be_read(browser, board, folder):
    with Visit(browser, folder, java_script_enabled=False) as visit:
        assert visit.page.locator("#ranking tbody tr:visible").count() == len(board.rows)
        rates = [key for key in board.class_metrics if key not in ("support", "groups")]
        assert visit.page.locator("#classes summary:visible").count() == len(rates)
        assert visit.page.locator("button:visible").count() == 0
        visit.page.locator("#classes summary").nth(1).click()
        assert visit.page.locator("#classes table:visible").count() == 2


def test_it_prints(browser, folder):
    with Visit(browser, folder) as visit:
        printed = visit.page.pdf(prefer_css_page_size=True)
        assert printed.startswith(b"%PDF")
