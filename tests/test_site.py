"""The built book, page by page: links, pictures, words for pictures; and in headless Chromium, desk and phone.

Needs `make book`; the part with a browser also needs Chromium and its driver.
"""

import functools
import http.server
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(not PAGES, reason="there is no built book: run `make book` first")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")


@functools.cache
def soup(page):
    return BeautifulSoup((SITE / page).read_text(encoding="utf-8"), "lxml")


@functools.cache
def anchors(page):
    return {tag["id"] for tag in soup(page).find_all(id=True)}


def internal(page, address):
    """The (file, fragment) that an address on a page leads to inside the site; None for the rest of the world."""
    parts = urlsplit(urljoin(f"http://site/{page}", address))
    if parts.netloc != "site" or parts.scheme != "http":
        return None
    path = unquote(parts.path).lstrip("/")
    return (path + "index.html" if not path or path.endswith("/") else path), unquote(parts.fragment)


@pytest.mark.parametrize("page", PAGES)
def test_no_broken_links(page):
    broken = []
    for tag in soup(page).find_all("a", href=True):
        found = internal(page, tag["href"])
        if found is None or tag["href"] == "#":
            continue
        file, fragment = found
        if not (SITE / file).is_file() or (fragment and file.endswith(".html") and fragment not in anchors(file)):
            broken.append(tag["href"])
    assert not broken


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_exists_and_has_words(page):
    wrong = []
    for image in soup(page).select("main img"):
        found = internal(page, image["src"]) if not image["src"].startswith("data:") else None
        if found and not (SITE / found[0]).is_file():
            wrong.append(f"missing: {image['src']}")
        words = image.get("alt", "").strip()
        if not words or re.search(r"\.(png|svg|jpe?g)$|^_images/", words):
            wrong.append(f"no alternative text: {image['src']} ({words!r})")
    assert not wrong


@pytest.fixture(scope="module")
def address():
    """The site on a port of its own, quietly."""
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *arguments: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a page that asks the outside for anything fails
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def visit(browser, url, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(url)
    # Lazy pictures and mathematics are waited for: what comes late may be what breaks the page.
    browser.execute_async_script("""
        const done = arguments[arguments.length - 1];
        for (const image of document.images) image.loading = "eager";
        const math = window.MathJax?.startup?.promise ?? Promise.resolve();
        Promise.all([math, document.fonts.ready]).then(() => setTimeout(done, 50), () => done());
    """)


TOO_WIDE = """
    const wide = [], limit = window.innerWidth + 1;
    const inBox = e => {  // in a box of its own that scrolls
        for (; e && e.tagName != "ARTICLE"; e = e.parentElement)
            if (getComputedStyle(e).overflowX != "visible") return true;
    };
    for (const e of document.querySelectorAll("article *")) {
        const { width, right } = e.getBoundingClientRect();
        if (width && right > limit && !inBox(e.parentElement)) wide.push(`${e.tagName}.${e.className} ${right}`);
    }
    const page = document.documentElement.scrollWidth;
    return page > limit ? [`page ${page}`, ...wide.slice(0, 5)] : wide.slice(0, 5);
"""
BROKEN = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
BAD_MATH = "return [...document.querySelectorAll('mjx-merror')].map(e => e.textContent)"


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_page_in_a_browser(browser, address, page, width):
    browser.get_log("browser")  # what other pages left
    visit(browser, f"{address}/{page}", width)
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors
    assert not browser.execute_script(TOO_WIDE)
    assert not browser.execute_script(BROKEN)
    assert not browser.execute_script(BAD_MATH)


@needs_browser
def test_search_finds(browser, address):
    visit(browser, f"{address}/search.html?q=overlap", 390)
    for _ in range(100):
        if hits := browser.execute_script("return document.querySelectorAll('#search-results li a').length"):
            break
        browser.execute_async_script("setTimeout(arguments[arguments.length - 1], 100)")
    assert hits
