"""What each page says of itself: a Sphinx extension, named in `_config.yml`.

A chapter's first line gets its paper's authors and links; every page gets a description and a picture for those who link to
it, and the footer; the site gets a page for addresses that do not exist, a map, and a search that leads to sections. Links
to the source appear when `repository.url` is set, the map and absolute addresses when `html.baseurl` is.
"""

import datetime
import html
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from docutils import nodes
from sphinx import addnodes

from .bibliography import ROOT, references
from .card import card

ABOUT = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
LENGTH = 200  # characters of a description, at most
BUTTONS = ("use_repository_button", "use_source_button", "use_edit_page_button", "use_issues_button")
BINDER = "https://mybinder.org"
NOT_FOUND = """<h1>This page does not exist</h1>
<p>The address may be mistyped, or the page has moved. The search finds words in all chapters.</p>"""


def configure(app, config):
    """Settings that follow from others: what needs the site's address or its repository's is set where these are known."""
    base = config.html_baseurl
    config.html_baseurl = f"{base.rstrip('/')}/" if base else ""
    config.html_show_search_summary = False  # Sphinx would load every page that was found, whole; search.js does it better
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path or "/"
    config.notfound_context = {"title": "Page not found", "body": NOT_FOUND}
    config.sitemap_url_scheme = "{link}"
    config.sitemap_excludes = ["404.html", "search.html", "genindex.html"]
    options = config.html_theme_options
    if options.get("repository_url"):
        options |= dict.fromkeys(BUTTONS, True)
        options["launch_buttons"] = {**options.get("launch_buttons", {}), "binderhub_url": BINDER}


def name_paper(app, doctree):
    """Behind the citation in the first line of a chapter: who wrote the paper, when, and where it can be read."""
    line = next(doctree.findall(nodes.paragraph), nodes.paragraph())
    cited = next((node for node in line.findall(addnodes.pending_xref) if node["refdomain"] == "cite"), None)
    if cited is None:
        return
    paper = references()[cited["reftarget"]]
    line["classes"].append("paper")
    line += nodes.Text(f" · {paper.names}, {paper.year}")
    for text, address in paper.links:
        line += [nodes.Text(" · "), nodes.reference("", text, refuri=address, internal=False)]


def prose(node):
    """The text of a node on one line, without citations; a formula that is more than a word is left as …"""
    copy = node.deepcopy()
    for formula in [*copy.findall(nodes.math)]:
        formula.parent.replace(formula, nodes.Text(formula.astext() if formula.astext().isalnum() else "…"))
    for citation in [*copy.findall(lambda n: isinstance(n, addnodes.pending_xref) and n["refdomain"] == "cite")]:
        citation.parent.remove(citation)
    return re.sub(r"\s+([.,;:?!)])", r"\1", " ".join(copy.astext().split()))


def describe(doctree):
    """The first sentences of a page that have no formula, as text of at most `LENGTH` characters."""
    for paragraph in doctree.findall(nodes.paragraph):
        if "paper" in paragraph["classes"] or not isinstance(paragraph.parent, nodes.section):
            continue
        said = ""
        for sentence in re.split(r"(?<=[.?!:])\s+", prose(paragraph)):
            if "…" in sentence or len(said) + len(sentence) >= LENGTH:
                break
            said = f"{said} {sentence}".strip()
        if said:
            return said.rstrip(":") + ("." if said.endswith(":") else "")
    return ""


def picture(doctree):
    """The chapter's picture on the front page: the SVG that the cell tagged `gallery` put out, or nothing."""
    for cell in doctree.findall(nodes.container):
        if "tag_gallery" in cell.get("classes", []):
            for raw in cell.findall(nodes.raw):
                found = re.search(r"<svg\b.*?</svg>", raw.astext(), re.S)
                if found:
                    return found.group()
    return None


def sign(app, pagename, templatename, context, doctree):
    """The footer: version, date, licence, and where to read more of them."""
    day = datetime.date.fromisoformat(ABOUT["date-released"])
    said = f"Version {ABOUT['version']}, {day:%-d %B %Y}, {ABOUT['license']} licence"
    more = f'<a href="{context["pathto"]("book/changelog")}">How to cite, licence, changes</a>'
    context["theme_extra_footer"] = f"<p>{said} · {more}</p>"


def lead_to_source(app, pagename, templatename, context, doctree):
    """The theme's links into the repository: a page that was rendered from an executed notebook is a text file there."""
    for button in [b for group in context.get("header_buttons", []) for b in group.get("buttons", [group])]:
        if button.get("url", "").startswith("https:") and (ROOT / f"{pagename}.md").exists():
            button["url"] = button["url"].replace(f"{pagename}.ipynb", f"{pagename}.md")


def introduce(app, pagename, templatename, context, doctree):
    """The head of a page: title, description and, if the site has an address, its own address and picture."""
    if doctree is None:  # the search, the index: nothing of ours
        return
    site, title, base = app.config.html_title, app.env.titles[pagename].astext(), app.config.html_baseurl
    said = describe(app.env.get_doctree(pagename))
    tags = {"og:title": title, "og:type": "article", "og:site_name": site, "og:description": said}
    if base:
        path = f"_images/cards/{pagename.replace('/', '-')}.png"
        (Path(app.outdir) / path).parent.mkdir(parents=True, exist_ok=True)
        (Path(app.outdir) / path).write_bytes(card(title, picture(doctree), site))
        tags |= {"og:url": base + app.builder.get_target_uri(pagename), "og:image": base + path}
        tags |= {"og:image:width": "1200", "og:image:height": "630", "twitter:card": "summary_large_image"}
    lines = [f'<meta property="{name}" content="{html.escape(text)}">' for name, text in tags.items()]
    context["metatags"] += "\n".join([*lines, f'<meta name="description" content="{html.escape(said)}">', ""])


def add_search(app, pagename, templatename, context, doctree):
    """The search page alone loads what leads its results to sections."""
    if pagename == "search":
        app.add_js_file("sections.js", loading_method="defer", priority=900)


def sections(doctree):
    """Every section of a page: its anchor, its title, and its own prose without code, outputs and subsections."""
    for section in doctree.findall(nodes.section):
        copy = section.deepcopy()
        for node in [*copy.findall(lambda n: isinstance(n, nodes.literal_block | nodes.math_block | nodes.raw))]:
            node.parent.remove(node)
        for node in [child for child in copy.children if isinstance(child, nodes.section)]:
            copy.remove(node)
        title = next(iter(copy.findall(nodes.title)))
        copy.remove(title)
        yield section["ids"][0], title.astext(), prose(copy)


def write_sections(app, exception):
    """The script of the search page: what stands in which section, and how results are led there."""
    if exception is None and app.builder.format == "html":
        found = {name: list(sections(app.env.get_doctree(name))) for name in sorted(app.env.found_docs)}
        script = (Path(__file__).parent / "search.js").read_text(encoding="utf-8")
        data = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        (Path(app.outdir) / "_static/sections.js").write_text(f"const SECTIONS = {data};\n{script}", encoding="utf-8")


def setup(app):
    """For Sphinx."""
    app.setup_extension("notfound.extension")
    if app.config.html_baseurl:
        app.setup_extension("sphinx_sitemap")
    app.connect("config-inited", configure)
    app.connect("doctree-read", name_paper)
    for step in (sign, lead_to_source, introduce, add_search):
        app.connect("html-page-context", step, priority=600)  # after the theme has made its buttons
    app.connect("build-finished", write_sections)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
