"""The built site in a real browser: it moves with no kernel, asks no other host for anything, and is readable by all."""

import contextlib
import functools
import gzip
import http.server
import os
import re
import threading
from pathlib import Path

import pytest
from conftest import CHAPTERS, ROOT, SMOKE, Quiet, built, watched

SITE = SMOKE / "html"
PAGES = ["index", *re.findall(r"file: book/(\w+)", (ROOT / "_toc.yml").read_text())]


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


AXE = ROOT / "node_modules/axe-core/axe.min.js"
VIOLATIONS = """rules => axe.run({runOnly: rules, resultTypes: ["violations"]})
  .then((result) => result.violations.map((v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]))"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
SLOW = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}  # bytes a second

# Size in pixels of every piece of text that is seen in a figure, with the text.
SIZES = """() => [...document.querySelectorAll("figure.plot svg")].filter((svg) => svg.checkVisibility()).flatMap((svg) =>
  [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim()).map((text) => {
    const matrix = text.getScreenCTM();
    return [parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b), text.textContent]; }))"""


@functools.cache
def compressed(path):
    """The bytes of a file as a web server sends them, and whether they are compressed."""
    text = path.endswith((".html", ".js", ".css", ".json", ".svg"))
    data = Path(path).read_bytes()
    return (gzip.compress(data, 6), True) if text else (data, False)


class Server(Quiet):
    """Serves the site as most servers do: text is compressed, connections are kept."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            self.send_error(404)
            return
        data, zipped = compressed(path)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(data)))
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="session")
def address():
    built(SITE / "index.html")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def opened(browser, address, name, before=None, **options):
    """A page of the site, in a context of its own, and a list of everything that goes wrong on it.

    `name` may have a fragment; `before` is given the page before it opens.
    """
    context = browser.new_context(**options)
    page, troubles = watched(context, address)
    if before:
        before(page)
    name, _, fragment = name.partition("#")
    page.goto(f"{address}/book/{name}.html#{fragment}", wait_until="networkidle", timeout=120_000)
    if options.get("java_script_enabled", True):
        page.wait_for_function("() => window.MathJax?.startup?.promise.then(() => true) ?? true")
    yield page, troubles
    context.close()


@pytest.fixture
def visit(browser, address):
    """Open a page; gives the page and a list of everything that went wrong while it loaded."""
    with contextlib.ExitStack() as stack:
        yield lambda name, **options: stack.enter_context(opened(browser, address, name, **options))


@pytest.fixture(scope="module")
def laptop(request, browser, address):
    """A page on a laptop's screen, which has come over a slow line; all tests that look at it share it, one after the other.

    Gives the page, its troubles, and the bytes that it took.
    """
    sizes = []

    def slow(page):
        line = page.context.new_cdp_session(page)
        line.send("Network.enable")
        line.send("Network.setCacheDisabled", {"cacheDisabled": True})
        line.send("Network.emulateNetworkConditions", SLOW)
        line.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))

    at_rest = {
        "viewport": {"width": 1280, "height": 900},
        "reduced_motion": "reduce",
    }  # live scenes do not begin by themselves
    with opened(browser, address, request.param, slow, **at_rest) as (page, troubles):
        yield page, troubles, sum(sizes)


@pytest.fixture(scope="module")
def phone(request, browser, address):
    """A page on a phone, opened by a link to its last claim, if it has one; shared alike. Gives page and troubles."""
    claims = re.findall(r'class="[^"]*\bverdict\b[^"]*" id="([^"]+)"', (SITE / f"book/{request.param}.html").read_text())
    name = "#".join([request.param, *claims[-1:]])
    with opened(browser, address, name, viewport={"width": 390, "height": 800}, reduced_motion="reduce") as both:
        yield both


on_laptops = functools.partial(pytest.mark.parametrize, "laptop", indirect=True)
on_phones = functools.partial(pytest.mark.parametrize, "phone", indirect=True)


@on_laptops(PAGES)
def test_page_is_seen_soon_and_is_light(laptop):
    """First paint within 3 s at 1.6 Mbit/s, and at most 3 MB until nothing more is asked for."""
    page, _, size = laptop
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") <= 3000
    assert size <= 3e6


@on_laptops(PAGES)
def test_math_is_typeset_and_pictures_have_words(laptop):
    page, *_ = laptop
    assert page.locator(".math:not(:has(mjx-container))").count() == 0
    assert page.locator("mjx-merror").count() == 0
    assert page.locator("main img:not([alt])").count() == 0
    for label, role in page.locator("main figure.plot").evaluate_all("all => all.map((f) => [f.ariaLabel, f.role])"):
        assert role == "img"
        assert len(label) >= 20
    assert page.locator('main figure svg:not([aria-hidden="true"])').count() == 0  # a figure is read once


@on_laptops(CHAPTERS)
def test_chapter_can_be_copied_downloaded_and_is_light(laptop):
    page, *_ = laptop
    assert page.locator("button.copybtn").count() >= 3
    link = page.locator("a.btn-download-source-button").first.evaluate("link => link.href")
    name = page.url.partition("#")[0].rsplit("/", 1)[1].removesuffix(".html")
    assert link.endswith(f"{name}.ipynb")
    assert page.request.get(link).ok
    assert (SITE / f"book/{name}.html").stat().st_size <= 6e6


@on_laptops(CHAPTERS)
def test_chapter_says_what_one_will_know_and_where_it_meets_others(laptop):
    page, *_ = laptop
    assert 2 <= page.locator(".admonition.know li").count() <= 4
    terms = page.locator("a.term").evaluate_all("all => all.map((link) => link.title)")
    assert len(terms) >= 2
    assert all(len(title) >= 20 for title in terms)
    for link in page.locator(".touches a").all():
        assert link.get_attribute("href").removesuffix(".html") in CHAPTERS
    assert page.locator(".left-prev, .right-next").count() == 2
    numbers = page.locator(".eqno").evaluate_all("all => all.map((one) => one.firstChild.textContent)")
    assert numbers == [f"({k + 1})" for k in range(len(numbers))]


@on_laptops(CHAPTERS)
def test_every_slider_moves_its_picture_by_keyboard_and_says_so(laptop):
    page, *_ = laptop
    moved = 0
    for box in page.locator(".explorable.moves").all():
        figure = box.locator("figure.plot")
        for slider in box.locator("input").all():
            assert page.locator(f'label[for="{slider.get_attribute("id")}"]').count() == 1
            before, value = figure.get_attribute("aria-label"), slider.get_attribute("aria-valuetext")
            now, last = int(slider.input_value()), int(slider.get_attribute("max"))
            if last == 0:  # a smoke run may leave one stop
                continue
            slider.focus()
            page.keyboard.press("ArrowRight" if now < last else "ArrowLeft")
            after = figure.get_attribute("aria-label")
            assert after != before
            assert slider.get_attribute("aria-valuetext") != value
            assert box.locator(".value").all_text_contents().count(slider.get_attribute("aria-valuetext")) >= 1
            page.wait_for_function("([box, words]) => box.querySelector('output').textContent == words",
                                   arg=[box.element_handle(), after])  # fmt: skip
            assert box.locator("figure.plot svg >> visible=true").count() == 1
            moved += 1
    assert moved >= 2


def wear(page, scheme):
    """Shows a page in light or dark colours."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.wait_for_function("scheme => document.documentElement.dataset.theme == scheme", arg=scheme)
    page.wait_for_function("() => document.getAnimations().length == 0")


@on_laptops(CHAPTERS)
def test_figures_and_tables_read_in_light_and_dark_mode(laptop):
    page, *_ = laptop
    for scheme in ("dark", "light"):
        wear(page, scheme)
        found = page.evaluate(CONTRASTS)
        assert len(found) >= 10
        assert min(found) >= 4.5


@on_laptops(PAGES)
def test_page_asks_nobody_and_complains_about_nothing(laptop):
    page, troubles, _ = laptop
    page.keyboard.press("End")
    page.wait_for_load_state("networkidle")
    assert troubles == []


@on_laptops(PAGES)
def test_page_is_accessible(laptop):
    """WCAG 2.1 A and AA, as far as axe-core can tell, with the code shown, on a laptop and a small phone."""
    page, *_ = laptop
    page.evaluate(AXE.read_text(encoding="utf-8"))
    # Emptied, for speed: a screen reader enters neither, and the contrast of text in pictures is measured above.
    page.evaluate("document.querySelectorAll('figure.plot svg, mjx-math').forEach((one) => one.replaceChildren())")
    if page.locator(".code-switch").count():
        page.locator(".code-switch").click()
    looks = [(1280, "light"), (1280, "dark"), (320, "dark")]  # what lies around the text is alike on all pages
    for width, scheme in looks if "index.html" in page.url else looks[::2]:
        page.set_viewport_size({"width": width, "height": 900})
        wear(page, scheme)
        found = page.evaluate(VIOLATIONS, RULES)
        assert found == [], (width, scheme)


@on_phones(CHAPTERS)
def test_a_link_to_a_claim_lands_on_it(phone):
    page, _ = phone
    last = page.locator("main .verdict").last.get_attribute("id")
    assert page.url.endswith(f"#{last}")
    page.wait_for_function(
        "id => { const y = document.getElementById(id).getBoundingClientRect().top; return 0 <= y && y < 300; }",
        arg=last,
        timeout=5000,
    )


@on_phones(PAGES)
def test_page_fits_a_phone(phone):
    page, troubles = phone
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert troubles == []
    small = [(round(size, 1), text) for size, text in page.evaluate(SIZES) if size < 11]
    assert small == []
    for slider in page.locator(".explorable.moves input").all():
        assert slider.bounding_box()["width"] >= 330


@pytest.mark.parametrize("name", CHAPTERS)
def test_without_scripts_explorables_stand_still_and_say_so(visit, name):
    page, _ = visit(name, java_script_enabled=False)
    boxes = page.locator(".explorable:has(figure.plot)").all()
    assert boxes
    for box in boxes:
        assert box.locator("figure.plot svg >> visible=true").count() == 1
        assert box.locator(".still").is_visible()
        assert not box.locator("input").first.is_visible()


def test_a_page_in_dark_mode_is_printed_on_white(visit):
    page, _ = visit("lottery", color_scheme="dark")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.evaluate(
        "window.printed = []; addEventListener('beforeprint', () => printed.push(document.documentElement.dataset.theme))"
    )
    page.pdf()
    assert page.evaluate("printed") == ["light"]
    assert page.evaluate(theme) == "dark"


def test_one_switch_shows_all_code_and_is_remembered(visit, address):
    page, _ = visit("lottery")
    folds = page.locator("details.hide")
    assert folds.count() >= 10
    assert page.locator("details.hide[open]").count() == 0
    page.get_by_role("button", name="Show all code").click()
    assert page.locator("details.hide:not([open])").count() == 0
    page.goto(f"{address}/book/audits.html", wait_until="networkidle")
    assert page.locator("details.hide:not([open])").count() == 0
    page.get_by_role("button", name="Hide all code").click()
    assert page.locator("details.hide[open]").count() == 0


def test_front_page_leads_to_every_chapter(visit):
    page, _ = visit("index")
    for name in CHAPTERS:
        card = page.locator(f'.gallery li:has(a[href="{name}.html"])')
        assert card.locator("svg").count() == 1
        assert re.search(r"\d+ minutes to read", card.text_content())
        assert page.locator(f'.scoreboard a[href="{name}.html"]').count() == 1


def test_claims_can_be_chosen_by_part_origin_and_verdict(visit):
    page, _ = visit("index")
    page.locator(".choice summary").click()
    rows = page.locator(".choice tbody tr")
    total = rows.count()
    page.get_by_label("Whose claim").select_option("paper")
    page.get_by_label("Part").select_option("Opening the box")
    shown = page.locator(".choice tbody tr >> visible=true")
    wanted = page.locator('.choice tr[data-origin="paper"][data-part="Opening the box"]').count()
    assert 0 < wanted == shown.count() < total
    assert page.locator(".choice output").text_content() == f"{wanted} of {total} claims"
