"""The front page: a gallery and a scoreboard, both read from executed chapters."""

import html
import json
from pathlib import Path

import yaml

from .claims import FAILS, HOLDS, SIGNS, UNJUDGED, read

TOC = Path(__file__).parents[2] / "_toc.yml"


def _chapters(folder):
    """Executed chapters in `folder`, in the order of the table of contents: a dict of slug to path."""
    parts = yaml.safe_load(TOC.read_text(encoding="utf-8"))["parts"]
    slugs = [Path(chapter["file"]).name for part in parts for chapter in part["chapters"]]
    paths = {slug: Path(folder) / f"{slug}.ipynb" for slug in slugs}
    return {slug: path for slug, path in paths.items() if path.exists() and read(path)}


def _title(cells):
    lines = [line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines()]
    return next(line[2:] for line in lines if line.startswith("# "))


class _Html:
    def __init__(self, text, plain):
        self.bundle = {"text/html": text, "text/plain": plain}

    def _repr_mimebundle_(self, **kwargs):
        return self.bundle


def gallery(folder):
    """One picture a chapter, linked to its page: the output of its cell tagged `gallery` in the notebook in `folder`."""
    cards = []
    for slug, path in _chapters(folder).items():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "gallery" in cell["metadata"].get("tags", [])]
        picture = "".join(next(o["data"]["text/html"] for o in tagged[0]["outputs"] if "text/html" in o.get("data", {})))
        cards.append(f'<a class="card" href="{slug}.html">{picture}<span>{html.escape(_title(cells))}</span></a>')
    return _Html(f'<nav class="gallery" aria-label="Chapters">{"".join(cards)}</nav>', f"{len(cards)} chapters")


def scoreboard(folder):
    """The verdicts of every chapter executed in `folder`, counted."""
    verdicts = (HOLDS, FAILS, UNJUDGED)
    head = "".join(f'<th scope="col">{SIGNS[v]} {v}</th>' for v in verdicts)
    chapters = {slug: [row["verdict"] for row in read(path)] for slug, path in _chapters(folder).items()}
    lines = []
    for slug, found in chapters.items():
        cells = "".join(f"<td>{found.count(verdict)}</td>" for verdict in verdicts)
        lines.append(f'<tr><th scope="row"><a href="{slug}.html">{slug}</a></th>{cells}</tr>')
    total = f"{sum(map(len, chapters.values()))} claims in {len(chapters)} chapters"
    return _Html(
        f'<div class="claims"><table><caption>{total}, measured when this book was built</caption>'
        f'<thead><tr><th scope="col">chapter</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>',
        total,
    )


def failures(folder):
    """Every claim of the chapters executed in `folder` that does not hold, with what was measured and why it is kept."""
    items = []
    for slug, path in _chapters(folder).items():
        for row in read(path):
            if row["verdict"] == FAILS:
                text = {key: html.escape(row[key]) for key in ("id", "says", "here", "finding")}
                link = f"{slug}.html#claim-{text['id'].replace('/', '-')}"
                why = f" <em>{text['finding']}</em>." if text["finding"] else ""
                items.append(f'<li><a href="{link}">{text["id"]}</a>: {text["says"]} Measured: {text["here"]}.{why}</li>')
    return _Html(f"<ul>{''.join(items)}</ul>" if items else "<p>Nothing, so far.</p>", f"{len(items)} claims do not hold")
