"""The report in a real headless browser: Chromium, where the system has one."""

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from report_project import HOSTILE, make_project

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Roots and results after write_reports()."""
    return make_project(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def open_page(project):
    """open_page(file, width) -> a driver that shows the file in a window of that width."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser, driver = (next(filter(None, map(shutil.which, names)), None) for names in (
        ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)))
    if not browser or not driver:
        pytest.skip("no Chromium with its driver on this machine")
    drivers = {}

    def start(width: int):
        options = selenium.ChromeOptions()
        options.binary_location = browser
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
            options.add_argument(flag)
        options.add_experimental_option("mobileEmulation", {
            "deviceMetrics": {"width": width, "height": 900, "pixelRatio": 1}})
        return selenium.Chrome(options=options, service=selenium.ChromeService(driver))

    def show(path: Path, width: int):
        if width not in drivers:
            drivers[width] = start(width)
        drivers[width].get("file://" + quote(os.fsencode(path)))
        return drivers[width]
    yield show
    for started in drivers.values():
        started.quit()


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_make_no_errors(project, open_page, width):
    roots, _ = project
    for page in [roots.traces / "report.html", *sorted((roots.traces / "reports").rglob("*.html"))]:
        browser = open_page(page, width)
        assert browser.execute_script(
            "return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert browser.get_log("browser") == []
        assert all(browser.execute_script(
            "return [...document.images].map(i => i.complete && i.naturalWidth > 0)"))


def test_a_hostile_name_stays_text(project, open_page):
    browser = open_page(project[0].traces / "report.html", 1280)
    names = browser.execute_script(
        "return [...document.querySelectorAll('table.fakes a')].map(a => a.textContent)")
    assert HOSTILE in names
    assert browser.execute_script("return document.querySelectorAll('img[onerror]').length") == 0
    link = browser.execute_script("return [...document.querySelectorAll('table.fakes a')]"
                                  ".find(a => a.textContent == arguments[0])", HOSTILE)
    link.click()
    assert browser.execute_script("return document.querySelector('h1').textContent") == HOSTILE
    assert browser.title == HOSTILE


def shown_names(browser) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('table.fakes tbody tr')].filter(r => !r.hidden)"
        ".map(r => r.cells[1].dataset.value)")


def test_sorting(project, open_page):
    browser = open_page(project[0].traces / "report.html", 1280)
    button = browser.execute_script(
        "return document.querySelectorAll('table.fakes th button')[5]")  # confidence
    button.click()
    assert shown_names(browser)[:3] == ["unclear.mp4", HOSTILE, "sub/caf?.mp4"]
    button.click()
    assert shown_names(browser)[-1] == "unclear.mp4"
    frames = browser.execute_script("return document.querySelectorAll('table.fakes th button')[3]")
    for first in ("joined.mp4", "joined.mp4"):  # starts 0 and 30, the lowest and the highest
        frames.click()
        assert shown_names(browser)[0] == first and shown_names(browser)[-1] == "sub/caf?.mp4"


def test_filtering_and_order_on_a_phone(project, open_page):
    browser = open_page(project[0].traces / "report.html", 390)
    browser.find_element("id", "search").send_keys("JOIN")
    assert shown_names(browser) == ["joined.mp4"] * 2
    assert browser.find_element("id", "shown").text == "2 of 6 shown"
    browser.find_element("id", "search").clear()
    browser.find_element("css selector", "#verdict option[value=ambiguous]").click()
    assert shown_names(browser) == ["unclear.mp4"]
    browser.find_element("css selector", "#verdict option").click()
    browser.find_element("css selector", "#order option[value='6 up']").click()
    assert shown_names(browser)[0] == "unclear.mp4"


def test_moving_through_frames(project, open_page):
    browser = open_page(project[0].traces / "reports/a plain.html", 1280)

    def seen() -> list[str]:
        return browser.execute_script(
            "return [...document.querySelectorAll('.moment')].filter(m => m.offsetHeight)"
            ".map(m => m.querySelector('.when').textContent)")
    first = seen()
    assert len(first) == 1
    slider = browser.find_element("css selector", "input[type=range]")
    slider.send_keys("\ue014" * 3)  # three steps to the right
    assert len(seen()) == 1 and seen() != first
    moment = browser.execute_script(
        "return document.querySelectorAll('.moment .when')[3].textContent")
    assert seen() == [moment]
    browser.find_element("css selector", ".viewer button").click()
    assert browser.find_element("css selector", ".viewer button").text == "Stop"


# --- on paper -----------------------------------------------------------------------------------

A4 = {"paperWidth": 8.27, "paperHeight": 11.69}  # inches


def printed(browser, tries: int = 3) -> bytes:
    """The page as PDF on A4. On a busy machine Chromium's printing process gives up at times."""
    from selenium.common.exceptions import WebDriverException

    try:
        return base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", A4)["data"])
    except WebDriverException as error:
        if tries == 1 or "Printing failed" not in str(error):
            raise
        return printed(browser, tries - 1)


def page_count(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


@pytest.fixture
def on_paper(open_page):
    """on_paper(file) -> a driver that shows the file as on A4 paper, margins taken off."""
    started = []

    def show(path: Path):
        browser = open_page(path, 703)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        started.append(browser)
        return browser
    yield show
    for browser in started:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_printed_pages_hide_nothing(project, on_paper):
    """All moments, closed tables and every column are on the paper; sliders and buttons are not."""
    for page in sorted((project[0].traces / "reports").rglob("*.html")):
        browser = on_paper(page)
        browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        assert browser.execute_script(
            "return [...document.querySelectorAll('.moment, .moment img, td, dd')]"
            ".filter(e => e.textContent || e.tagName == 'IMG').every(e => e.offsetHeight > 0)")
        assert browser.execute_script(
            "return [...document.querySelectorAll('button, input')].every(e => !e.offsetHeight)")
        assert browser.execute_script(
            "return [...document.querySelectorAll('body, table, .wide, img')].every("
            "e => e.getBoundingClientRect().right <= innerWidth && e.scrollWidth <= innerWidth)")


def test_the_printed_list_has_all_columns(project, on_paper):
    browser = on_paper(project[0].traces / "report.html")
    heads = browser.execute_script(
        "return [...document.querySelectorAll('th')].map(h => [h.offsetHeight > 0,"
        "getComputedStyle(h, '::before').content, h.scrollWidth <= h.clientWidth])")
    assert all(shown and fits for shown, _, fits in heads)
    assert [label for _, label, _ in heads[1:]] == [f'"{name}"' for name in (
        "fake", "verdict", "source", "frames", "time", "confidence", "rate", "mirrored")]
    assert len(browser.find_elements("css selector", "tbody tr")) == 6
    assert browser.find_element("id", "shown").is_displayed()  # tells when rows are filtered out


def test_printing_to_pdf(project, open_page):
    """The list of six rows fits one sheet; a fake's page, few. The text is on them."""
    listed = printed(open_page(project[0].traces / "report.html", 1280))
    page = printed(open_page(project[0].traces / "reports/a plain.html", 1280))
    assert (page_count(listed), listed[:5]) == (1, b"%PDF-")
    assert 3 <= page_count(page) <= 6
    if shutil.which("pdftotext") is None:
        return
    texts = [" ".join(subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, timeout=60,
                                     stdout=subprocess.PIPE, check=True).stdout.decode().split())
             for pdf in (listed, page)]
    assert all(name in texts[0] for name in ("a plain.mp4", "joined.mp4", "unclear.mp4", "broken"))
    assert all(f"fake: frame {index}," in texts[1] for index in (0, 5, 11))
    assert texts[1].count("fake: frame") == 8 and "probability" in texts[1]
    assert "sha256" in texts[1] and "Places that were weighed" in texts[1]
