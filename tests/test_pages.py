"""What the pages say of themselves: papers, sources, descriptions, the map, the page for lost addresses, the search."""

import functools
import http.server
import re
import shutil
import subprocess
import threading
import tomllib
import xml.etree.ElementTree

import pytest
import yaml
from conftest import CHAPTERS, ROOT, SMOKE, Quiet, built
from test_site import PAGES

from lib.publishing import bibliography
from lib.publishing.card import card

PAPERS = {  # the number of each chapter's paper at arXiv
    "geneft": "2402.05916",
    "grokking": "2310.05918",
    "lottery": "2310.02258",
    "resource": "2402.05164",
    "mips": "2402.05110",
    "hypernetworks": "2312.03051",
    "brains": "2310.07711",
    "truth": "2310.06824",
    "audits": "2401.14446",
    "disempowerment": "2310.06009",
}
REPOSITORY, ADDRESS = "https://github.com/someone/black-box", "https://someone.example/black-box"
ALL = [*PAGES, "changelog"] if "changelog" not in PAGES else PAGES


def test_every_reference_can_be_followed():
    for key, reference in bibliography.references().items():
        assert reference.links, key
        assert reference.authors, key
        assert "{" not in f"{reference.names} {reference.title}", key
        for text, address in reference.links:
            assert re.fullmatch(r"https://(arxiv\.org/abs/\d{4}\.\d{5}|doi\.org/10\.\d{4,5}/\S+|[a-z.]+)", address), text


def test_every_entry_is_cited():
    pages = "".join(path.read_text() for path in ROOT.glob("book/*.md"))
    cited = {key.strip() for keys in re.findall(r"\{cite[:\w]*\}`([^`]+)`", pages) for key in keys.split(",")}
    assert cited == set(bibliography.references())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_leads_to_its_paper(chapter):
    page = built(SMOKE / f"html/book/{chapter}.html").read_text()
    line = re.search(r'<p class="paper">(.*?)</p>', page, re.S).group(1)
    assert f'href="https://arxiv.org/abs/{PAPERS[chapter]}"' in line
    names = re.sub("<.*?>", "", line).split(" · ")[1]
    assert "Tegmark" in names or "and 20 others" in names or "and 9 others" in names
    tail = page[page.index('id="bibliography"') :]
    assert f'href="https://arxiv.org/abs/{PAPERS[chapter]}"' in tail


@pytest.mark.parametrize("page", ALL)
def test_a_page_describes_itself_and_is_signed(page):
    text = built(SMOKE / f"html/book/{page}.html").read_text()
    (said,) = re.findall(r'<meta name="description" content="([^"]*)">', text)
    assert 40 <= len(said) <= 250
    assert said.endswith((".", "?", "!"))
    assert not re.search(r"[\\$…\[\]{}]", said)
    assert f'<meta property="og:description" content="{said}">' in text
    title = re.search(r'<meta property="og:title" content="([^"]*)">', text).group(1)
    assert f"<title>{title}" in text
    assert re.search(r"Version \d+\.\d+\.\d+, \d+ \w+ 20\d\d, MIT licence", text)
    assert re.search(r'href="(changelog.html|#)">How to cite, licence, changes', text)


def test_every_chapter_says_something_else():
    pages = [built(SMOKE / f"html/book/{chapter}.html").read_text() for chapter in CHAPTERS]
    assert len({re.search(r'<meta name="description" content="([^"]*)">', page).group(1) for page in pages}) == len(CHAPTERS)


def test_version_and_date_are_the_same_everywhere():
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == about["version"]
    text = (ROOT / "book/changelog.md").read_text()
    assert re.search(r"version = \{(.*?)\}", text).group(1) == about["version"]
    assert re.search(r"date    = \{(.*?)\}", text).group(1) == about["date-released"]
    assert f"### {about['version']}, " in text


def test_a_card_is_a_picture_of_the_usual_size():
    red = '<svg viewBox="0 0 2 1"><rect width="2" height="1" fill="#f00"/></svg>'
    plain, drawn = card("A question & its answer?", None, "Book"), card("A question & its answer?", red, "Book")
    for png in (plain, drawn):
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (1200, 630)
    assert plain != drawn
    assert card("A question & its answer?", red, "Book") == drawn


# ---- a small site that knows its address and its repository ------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site of two pages, built with the book's own settings, an address and a repository; strict."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "book").mkdir()
    for path in (built(SMOKE / "lottery.ipynb"), ROOT / "book/changelog.md", ROOT / "book/references.bib"):
        shutil.copy(path, folder / "book")
    shutil.copytree(ROOT / "book/_static", folder / "book/_static")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/changelog\nchapters:\n  - file: book/lottery\n")
    settings = (ROOT / "_config.yml").read_text()
    for old, new in (
        ("execute_notebooks: force", 'execute_notebooks: "off"'),
        ('\n  url: ""', f'\n  url: "{REPOSITORY}"'),
        ('\n  baseurl: ""', f'\n  baseurl: "{ADDRESS}"'),
    ):
        assert settings.count(old) == 1
        settings = settings.replace(old, new)
    (folder / "_config.yml").write_text(settings)
    done = subprocess.run(
        ["jupyter-book", "build", "-q", "-W", "-n", "--keep-going", folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "_build/html"


@pytest.fixture(scope="module")
def below(site, tmp_path_factory):
    """Its address when it is served below a folder, as GitHub Pages does, with the page for addresses that do not exist."""
    top = tmp_path_factory.mktemp("server")
    (top / "black-box").symlink_to(site)

    class Server(Quiet):
        def send_error(self, code, message=None, explain=None):
            body = (site / "404.html").read_bytes()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=top))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/black-box"
    server.shutdown()
    server.server_close()


def test_links_to_sources_appear_with_the_repository(site):
    page, plain = ((folder / "book/lottery.html").read_text() for folder in (site, built(SMOKE / "html/index.html").parent))
    for address in (
        f"{REPOSITORY}/edit/main/book/lottery.md",
        f"{REPOSITORY}/blob/main/book/lottery.md",
        f"{REPOSITORY}/issues/new",
        "https://mybinder.org/v2/gh/someone/black-box/main?urlpath=lab/tree/book/lottery.md",
    ):
        assert f'href="{address}' in page
    assert "lottery.ipynb" not in "".join(re.findall(r'href="https:[^"]*"', page))
    assert not re.search(r'href="https://(github|mybinder)', plain)
    assert re.search(r'href="[^"]*_sources/book/lottery.ipynb"', plain)


def test_pages_are_found_by_those_who_link_to_them(site):
    tree = xml.etree.ElementTree.parse(site / "sitemap.xml")
    found = {place.text for place in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")}
    assert found == {f"{ADDRESS}/book/lottery.html", f"{ADDRESS}/book/changelog.html"}
    page = (site / "book/lottery.html").read_text()
    assert f'rel="canonical" href="{ADDRESS}/book/lottery.html"' in page
    assert f'<meta property="og:url" content="{ADDRESS}/book/lottery.html">' in page
    image = re.search(r'<meta property="og:image" content="([^"]*)">', page).group(1)
    png = site / image.removeprefix(f"{ADDRESS}/")
    assert png.read_bytes()[1:4] == b"PNG"
    assert png.stat().st_size > 2 * (site / "_images/cards/book-changelog.png").stat().st_size


def visit(browser, address):
    """The page at an address, and what went wrong while it loaded."""
    page, troubles = browser.new_page(), []
    page.on("response", lambda r: r.status >= 400 and r.url != address and troubles.append(f"{r.status} {r.url}"))
    page.on("pageerror", lambda e: troubles.append(str(e)))
    page.goto(address, wait_until="networkidle")
    return page, troubles


def test_site_works_below_a_folder(browser, below):
    for name in ("index.html", "book/lottery.html", "search.html"):
        page, troubles = visit(browser, f"{below}/{name}")
        assert troubles == []
        assert page.locator("h1 >> visible=true").count() == 1
        page.close()


def test_a_lost_address_leads_back(browser, below):
    page, troubles = visit(browser, f"{below}/some/where/lost.html")
    assert troubles == []
    assert page.locator("h1 >> visible=true").inner_text() == "This page does not exist"
    page.locator("nav a", has_text="wider network").first.click()
    assert page.url == f"{below}/book/lottery.html"
    page.close()


@pytest.mark.parametrize("served", [True, False])
def test_search_lands_on_the_section(browser, below, site, served):
    page, troubles = visit(browser, f"{below if served else site.as_uri()}/search.html?q=speculation+averages")
    link = page.locator("ul.search a", has_text="What it may mean for language models")
    link.wait_for()
    assert "speculation" in page.locator("ul.search li p.context").first.inner_text()
    link.click()
    assert page.url.endswith("book/lottery.html#what-it-may-mean-for-language-models")
    assert troubles == []
    page.close()
