"""The built site in a real browser: it moves with no kernel, asks no other host for anything, and is readable by all."""

import functools
import http.server
import os
import re
import shutil
import threading

import pytest
from conftest import CHAPTERS, ROOT, SMOKE, built
from playwright.sync_api import sync_playwright

SITE = SMOKE / "html"
PAGES = ["index", *re.findall(r"file: book/(\w+)", (ROOT / "_toc.yml").read_text())]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Contrast of every visible piece of text in a figure's ink or a verdict table with the ground that it stands on.
CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const l = c.slice(0, 3).map((v) => (v /= 255)
    <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                         return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                          if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const inked = [...document.querySelectorAll("figure.plot svg text")].filter((t) => t.style.fill == "currentcolor");
  return [...inked, ...document.querySelectorAll(".claims td")].filter((t) => t.checkVisibility()).map((t) => {
    const style = getComputedStyle(t);
    return contrast(light(rgb(t.tagName == "text" ? style.fill : style.color)), light(ground(t))); });
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def address():
    built(SITE / "index.html")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    path = shutil.which("chromium")
    if path is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("no Chromium found: install it with `apt-get install chromium` (Debian, Ubuntu) and put it on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Open a page; gives the page and a list of everything that went wrong while it loaded."""
    contexts = []

    def open_page(name, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page, troubles = context.new_page(), []
        page.on("request", lambda r: r.url.startswith((address, "data:", "blob:")) or troubles.append(f"asks {r.url}"))
        page.on("response", lambda r: r.status >= 400 and troubles.append(f"{r.status} {r.url}"))
        page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
        page.on("pageerror", lambda e: troubles.append(str(e)))
        page.goto(f"{address}/book/{name}.html", wait_until="networkidle")
        widgets = page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count()
        page.wait_for_function("n => document.querySelectorAll('.explorable').length >= n", arg=widgets)
        return page, troubles

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_asks_nobody_and_complains_about_nothing(visit, name):
    page, troubles = visit(name)
    page.keyboard.press("End")
    page.wait_for_load_state("networkidle")
    assert troubles == []


@pytest.mark.parametrize("name", PAGES)
def test_math_is_typeset_and_pictures_have_words(visit, name):
    page, _ = visit(name)
    page.wait_for_function("() => window.MathJax?.startup?.promise.then(() => true) ?? true")
    assert page.locator(".math:not(:has(mjx-container))").count() == 0
    assert page.locator("mjx-merror").count() == 0
    assert page.locator("main img:not([alt])").count() == 0
    for svg in page.locator("main figure.plot svg").all():
        assert svg.get_attribute("role") == "img"
        assert len(svg.get_attribute("aria-label")) >= 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", CHAPTERS)
def test_figures_and_tables_read_in_light_and_dark_mode(visit, name, scheme):
    page, _ = visit(name, color_scheme=scheme)
    found = page.evaluate(CONTRASTS)
    assert len(found) >= 10
    assert min(found) >= 4.5


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_slider_moves_its_picture_by_keyboard(visit, name):
    page, _ = visit(name)
    boxes = page.locator(".explorable").all()
    moved = 0
    for box in boxes:
        shown = box.locator("figure.plot svg >> visible=true")
        for handle in box.locator(".noUi-handle").all():
            assert shown.count() == 1
            before = shown.get_attribute("aria-label")
            first, now, last = (float(handle.get_attribute(f"aria-value{end}")) for end in ("min", "now", "max"))
            if first == last:  # a smoke run may leave one stop
                continue
            handle.focus()
            page.keyboard.press("ArrowRight" if now < last else "ArrowLeft")
            page.wait_for_function(
                "([box, before]) => [...box.querySelectorAll('figure.plot svg')]"
                ".some(s => s.checkVisibility() && s.getAttribute('aria-label') != before)",
                arg=[box.element_handle(), before],
                timeout=5000,
            )
            assert shown.count() == 1
            moved += 1
    assert moved >= 2


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_phone(visit, name):
    page, troubles = visit(name, viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert troubles == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_can_be_copied_downloaded_and_is_light(visit, name):
    page, _ = visit(name)
    assert page.locator("button.copybtn").count() >= 3
    link = page.locator("a.btn-download-source-button").first.get_attribute("href")
    assert link.endswith(f"{name}.ipynb")
    assert page.request.get(page.evaluate("link => new URL(link, location).href", link)).ok
    assert (SITE / f"book/{name}.html").stat().st_size <= 6e6


def test_front_page_leads_to_every_chapter(visit):
    page, _ = visit("index")
    for name in CHAPTERS:
        assert page.locator(f'.gallery a[href="{name}.html"] svg').count() == 1
        assert page.locator(f'.claims a[href="{name}.html"]').count() == 1
