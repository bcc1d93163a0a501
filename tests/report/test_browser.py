"""The report as a reader meets it: in a real Chromium, at three widths, in light and dark, by keyboard, on paper."""

import csv
import io
import os
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from experiments import compare
from jaxsnn_mia.pipeline.run import run_pipeline
from tests.runs import small

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
WIDTHS = (380, 768, 1280)
PICTURES = os.environ.get("JAXSNN_MIA_PICTURES")  # a folder for pictures of the page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of two runs: images and rows, two families, two widths of bits, two seeds, a threat beyond membership."""
    runs = tmp_path_factory.mktemp("runs")
    sweep = {"dataset": ("digits",), "bits": (32, 4), "seed": (0, 1)}
    beyond = {"names": ("white_class",), "shadows": 2, "steps": 5, "image": (8, 8, 1)}
    run_pipeline(small(sweep=sweep, inversion=beyond), runs / "digits")
    run_pipeline(small(sweep={"bits": (32, 4)}, model={"family": "snn"}), runs / "cancer")
    compare.compare([runs / "digits", runs / "cancer"], runs / "both", "Two runs")
    return runs / "both/report.html"


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, report):
    """page(width=..., scheme=..., script=...) of the report; what it said and asked for is in page.said, page.asked."""
    contexts = []

    def page(width=1280, scheme="light", script=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script,
            accept_downloads=True,
        )  # fmt: skip
        contexts.append(context)
        one = context.new_page()
        one.said, one.asked = [], []
        one.on("console", lambda message: one.said.append(message.text))
        one.on("pageerror", lambda error: one.said.append(str(error)))
        one.on("request", lambda request: one.asked.append(request.url))
        one.goto(report.as_uri())
        return one

    yield page
    for context in contexts:
        context.close()


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def test_nothing_is_wrong_and_nothing_leaves_the_page(opened):
    page = opened()
    for button in page.locator("button:visible").all():
        if not button.get_attribute("data-svg"):
            button.click()
    assert page.said == []
    left = [url for url in page.asked if not url.startswith(("data:", "blob:")) and not url.endswith("report.html")]
    assert left == []


def test_the_first_screen_answers(opened):
    page = opened()
    over_seeds = page.get_by_role("region", name="Over seeds")
    assert over_seeds.bounding_box()["y"] < 400
    assert "AUC" in over_seeds.inner_text()
    answers = page.locator(".answers li")
    assert answers.count() == 6
    for said in answers.all_inner_texts():
        assert re.search("At 1 % false positives, (lira|the strongest of 4 attacks) finds", said)
        assert "AUC of lira" in said


@pytest.mark.parametrize("keyboard", [False, True])
def test_tables_sort(opened, keyboard):
    page = opened()
    region = page.get_by_role("region", name="Every variant and attack")
    heads = region.locator("th").all_inner_texts()
    for name in ("AUC [95 %]", "train acc", "attack"):
        column = heads.index(name) + 1
        button = region.locator(f"th:nth-child({column}) button")
        for order in ("descending", "ascending"):
            if keyboard:
                button.focus()
                page.keyboard.press("Enter")
            else:
                button.click()
            assert region.locator(f"th:nth-child({column})").get_attribute("aria-sort") == order
            cells = region.locator(f"td:nth-child({column})").all_inner_texts()
            keys = cells if name == "attack" else [float(cell.split()[0]) for cell in cells]
            assert keys == sorted(keys, reverse=order == "descending")
            assert len(set(keys)) > 1


OVERLAPS = """() => {
  const seen = [], bad = [];
  const boxes = (nodes) => nodes.map((node) => [node, node.getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && box.height > 1);
  const cross = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1.5;
  const pairs = (nodes, what) => {
    const all = boxes(nodes);
    all.forEach(([one, a], i) => all.slice(i + 1).forEach(([other, b]) => {
      if (!one.contains(other) && !other.contains(one) && cross(a, b))
        bad.push(`${what}: ${one.textContent.trim().slice(0, 40)} | ${other.textContent.trim().slice(0, 40)}`);
    }));
    return all.length;
  };
  const blocks = "h1, h2, h3, p, li, figure, .scroll, .bar, .said, summary, .tools, pre";
  let count = pairs([...document.querySelectorAll(blocks)], "page");
  for (const svg of document.querySelectorAll("svg")) count += pairs([...svg.querySelectorAll("text")], "figure");
  return { bad, count, wide: document.documentElement.scrollWidth - document.documentElement.clientWidth };
}"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overlaps(opened, width, scheme):
    page = opened(width=width, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"report-{width}-{scheme}.png"), full_page=True)
    found = page.evaluate(OVERLAPS)
    assert found["count"] > 300
    assert found["bad"] == []
    assert found["wide"] <= 0


def test_the_check_sees_an_overlap(opened):
    page = opened()
    page.evaluate("document.querySelector('h2').style.marginTop = '-4rem'")
    assert page.evaluate(OVERLAPS)["bad"] != []
    page.evaluate("document.querySelector('h2').style.width = '2000px'")
    assert page.evaluate(OVERLAPS)["wide"] > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_no_rule_of_accessibility_is_broken(opened, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(width=width, scheme=scheme)
    found = axe.run(page).response
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]] == []
    assert len(found["passes"]) > 20


def test_dark_is_dark(opened):
    colours = {}
    for scheme in ("light", "dark"):
        of_body = opened(scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        colours[scheme] = sum(int(part) for part in of_body[4:-1].split(","))
    assert colours["light"] > 700
    assert colours["dark"] < 100


def test_the_keyboard_reaches_everything(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = 0
    while page.evaluate("document.activeElement !== document.body"):
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shown != "none"
        reached += 1
        page.keyboard.press("Tab")
        assert reached < 2000
    wanted = page.locator("button:visible, a:visible, summary:visible, [tabindex='0']:visible").count()
    assert reached >= wanted


def test_every_figure_comes_as_csv_and_svg(opened, tmp_path):
    page = opened()
    count = page.locator("figure").count()
    assert count > 10
    for i in range(count):
        if i % 4 == 0:  # Chromium drops the eleventh download of one page in a row
            page = opened()
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        figures = page.locator("figure")
        for kind in ("csv", "svg"):
            with page.expect_download() as waiting:
                figures.nth(i).locator(f"button[data-{kind}]").click()
            file = tmp_path / f"{i}.{kind}"
            waiting.value.save_as(file)
            assert waiting.value.suggested_filename.endswith(f".{kind}")
        rows = list(csv.DictReader(io.StringIO((tmp_path / f"{i}.csv").read_text())))
        assert len(rows) > 0
        assert all(None not in row and None not in row.values() for row in rows)
        svg = (tmp_path / f"{i}.svg").read_text()
        assert ET.fromstring(svg).tag.endswith("svg")
        assert "var(" not in svg
        assert "currentColor" not in svg
    tables = page.locator("button[data-table]")
    with page.expect_download() as waiting:
        tables.first.click()
    waiting.value.save_as(tmp_path / "table.csv")
    lines = list(csv.reader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert lines[0][:2] == ["variant", "seeds"]
    assert len({len(line) for line in lines}) == 1


def test_it_prints_and_needs_no_script(opened, tmp_path):
    page = opened()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("button:visible").count() <= page.locator("th button").count()
    pdf = page.pdf(format="A4")
    assert pdf[:4] == b"%PDF"
    if PICTURES:
        (Path(PICTURES) / "report.pdf").write_bytes(pdf)
    still = opened(script=False)
    assert "digits-" in still.locator("main").inner_text()
    assert still.locator("table").count() >= 5
