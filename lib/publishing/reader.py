"""What the site does to the pages of Jupyter Book and its theme: a Sphinx extension, named in `_config.yml`.

It folds code, links terms to the glossary and chapters to each other, and mends what
the theme leaves heavy or hard to reach: see `MENDED`, a table of edits with their reasons.
"""

import html
import re
from pathlib import Path

from docutils import nodes

MENDED = (  # pattern in a finished page, what takes its place
    # 1.5 MB of script that only draws icons: the style sheet's font draws them too, once the page can be read.
    (r'\s*<script src="[^"]*fontawesome[^"]*"></script>', ""),
    (r'\s*<link rel="preload" as="font"[^>]*fontawesome[^>]*>', ""),
    (r'(?s)\s*(<link href="[^"]*fontawesome[^"]*" rel="stylesheet" />)(.*)</body>', r"\2\1\n</body>"),
    # Scripts wait for the page, in their order; the one that others read values from in the page's head does not.
    (r'<script src="(?![^"]*documentation_options)', '<script defer src="'),
    (r"\s*<link rel=\"preload\" as=\"script\"[^>]*>", ""),
    # Roles that are deprecated or forbid the children that they have.
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    (r' role="doc-biblioentry"', ""),
    # Names that differ from what is to be read.
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (r'title="Search" aria-label="Search" data-bs-placement', 'title="Search" data-bs-placement'),
    (r'<button class="(sidebar-toggle[^"]*)" title="([^"]*)"', r'<button class="\1" title="\2" aria-label="\2"'),
    (r'(<button onclick="toggleFullScreen\(\)"\s+class="[^"]*"\s+title="([^"]*)")', r'\1 aria-label="\2"'),
    (r'<i class="fa', '<i aria-hidden="true" class="fa'),
    (r'<span class="search-button__kbd-shortcut">', '<span class="search-button__kbd-shortcut" aria-hidden="true">'),
    (r'(?s)(<button class="btn btn-sm pst-navbar-icon search-button[^>]*title="Search")', r'\1 aria-label="Search"'),
    (r'<nav class="bd-toc-nav page-toc">', '<nav class="bd-toc-nav page-toc" aria-label="On this page">'),
    # Heads of tables say what they are heads of; an empty corner is no head.
    (r'<th class="head([^"]*)"><p></p></th>', r'<td class="head\1"></td>'),
    (r'<th class="head', '<th scope="col" class="head'),
    (r"<th></th>", "<td></td>"),
    (r"(?s)(<tbody>\s*<tr[^>]*>\s*|</tr>\s*<tr[^>]*>\s*)<th>", r'\1<th scope="row">'),
    (r"<th>", '<th scope="col">'),
    # The page says its size once.
    (r'<meta name="viewport" content="width=device-width, initial-scale=1"/?>', ""),
)

TOUCHES = (  # chapters that meet, and where
    ("lottery", "resource", "both ask how the error falls as a network grows: one looks at luck, the other counts neurons"),
    ("grokking", "geneft", "both ask when a network that has memorized comes to understand, and what decides it"),
    ("mips", "brains", "both give neurons an order that the training did not: one to read a program, one to see an anatomy"),
    ("hypernetworks", "mips", "both look for an algorithm in trained networks, and say when it is one"),
    ("truth", "audits", "both look inside a model for what its answers do not tell"),
    ("audits", "disempowerment", "both ask how people hold to account what is stronger than each of them"),
)
WORDS = 220  # a minute
PICTURE = 12  # seconds


def fold(app, doctree):
    """Fold the code of every cell. Cells that the chapter hides keep their class, by which the page tells them."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and not cell.get("hide_mode"):
            cell["hide_mode"] = "input"
            cell["prompt_show"], cell["prompt_hide"] = app.config.nb_code_prompt_show, app.config.nb_code_prompt_hide


def resolved(app, doctree, page):
    """Link the first use of each term of the glossary on the page of a chapter."""
    if page in reading(app):
        terms(doctree, definitions(app))


def definitions(app):
    """The glossary: {term: (anchor, definition)}; empty if the book is built without it."""
    if "book/glossary" not in app.env.all_docs:
        return {}
    if not hasattr(app, "glossary"):
        items = app.env.get_doctree("book/glossary").findall(nodes.definition_list_item)
        app.glossary = {
            item[0].astext(): (item[0]["ids"][0], item[-1].astext().replace("\n", " ")) for item in items if item[0]["ids"]
        }
    return app.glossary


def terms(doctree, glossary):
    """Link the first use of each term in the running text, with its definition to hover over."""
    left = dict(glossary)
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if isinstance(paragraph.parent, nodes.section | nodes.list_item):
            for text in [child for child in paragraph.children if isinstance(child, nodes.Text)]:
                paragraph.replace(text, list(_linked(text, left)))


def _linked(text, left):
    """The parts of a text, with links at terms that are `left`, which leave it."""
    found = {term: re.search(rf"\b{re.escape(term)}s?\b", text, re.I) for term in left}
    places = {term: match for term, match in found.items() if match}
    if not places:
        yield nodes.Text(text)
        return
    term = min(places, key=lambda term: places[term].start())
    anchor, definition = left.pop(term)
    start, end = places[term].span()
    title, word = html.escape(definition, quote=True), html.escape(text[start:end])
    yield nodes.Text(text[:start])
    yield nodes.raw("", f'<a class="term" href="glossary.html#{anchor}" title="{title}">{word}</a>', format="html")
    yield from _linked(text[end:], left)


def reading(app):
    """The pages of the chapters, by name, with their titles."""
    slugs = {slug for *pair, _ in TOUCHES for slug in pair}
    return {f"book/{slug}": app.env.titles[f"book/{slug}"].astext() for slug in slugs if f"book/{slug}" in app.env.all_docs}


def minutes(body):
    """How long a page takes to read, in whole minutes: its words without code and tables, and a while for every picture."""
    text = re.sub(r"(?s)<(svg|script|pre|style|details|table)\b.*?</\1>", " ", body)
    words = len(re.sub(r"<[^>]*>", " ", text).split())
    return max(1, round(words / WORDS + body.count('<figure class="plot"') * PICTURE / 60))


def head(app, page, template, context, doctree):
    """Under the title of a chapter: how long it takes, and at its end the chapters that it touches."""
    titles = reading(app)
    if page not in titles or not context.get("body"):
        return
    slug, body = page.rpartition("/")[2], context["body"]
    body = body.replace("</h1>", f'</h1>\n<p class="minutes">{minutes(body)} minutes to read</p>', 1)
    items = "".join(
        f'<li><a href="{other}.html">{html.escape(titles[f"book/{other}"])}</a>: {html.escape(why)}.</li>'
        for one, two, why in TOUCHES
        for here, other in ((one, two), (two, one))
        if here == slug and f"book/{other}" in titles
    )
    if items:
        title = "<p>Where this chapter meets others</p>"
        touching = f'<aside class="touches" aria-label="Related chapters">{title}<ul>{items}</ul></aside>'
        place = body.find('<section id="bibliography">')
        place = place if place >= 0 else body.rfind("</section>")
        body = body[:place] + touching + body[place:]
    context["body"] = body


def mend(app, error):
    """Edit the finished pages by `MENDED`."""
    if error or app.builder.format != "html":
        return

    def took(found):  # a chapter's own page says it, also one that this build has left as it was
        page = Path(app.outdir) / f"book/{found[1]}.html"
        said = page.exists() and re.search(r'<p class="minutes">(.*?)</p>', page.read_text(encoding="utf-8"))
        return f'<span class="minutes">{said[1]}</span>' if said else ""

    for path in Path(app.outdir).rglob("*.html"):
        if "_static" not in path.parts:
            text = path.read_text(encoding="utf-8")
            for pattern, instead in MENDED:
                text = re.sub(pattern, instead, text)
            text = re.sub(r'<span class="minutes" data-page="(\w+)"></span>', took, text)
            path.write_text(text, encoding="utf-8")


def setup(app):
    """Sphinx calls this."""
    app.connect("doctree-read", fold)
    app.connect("doctree-resolved", resolved)
    app.connect("html-page-context", head)
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
