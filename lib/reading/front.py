"""The front page and the honesty page: a gallery, a scoreboard and what did not hold, all read from executed chapters."""

import html
import json
from pathlib import Path

import yaml

from .ledger import ROOT
from .verdicts import FAILS, HOLDS, SIGNS, UNDECIDED, UNJUDGED, UNMET, anchor, origin, read, seeds

TOC = ROOT / "_toc.yml"
VERDICTS = (HOLDS, FAILS, UNDECIDED, UNMET, UNJUDGED)


def _chapters(folder):
    """Executed chapters in `folder`, in the order of the table of contents: a dict of slug to path."""
    parts = yaml.safe_load(TOC.read_text(encoding="utf-8"))["parts"]
    slugs = [Path(chapter["file"]).name for part in parts for chapter in part["chapters"]]
    paths = {slug: Path(folder) / f"{slug}.ipynb" for slug in slugs}
    return {slug: path for slug, path in paths.items() if path.exists() and read(path)}


def _picture(path, cells):
    """The picture of a chapter: the output of its cell tagged `gallery`."""
    for cell in cells:
        if "gallery" in cell["metadata"].get("tags", []):
            for output in cell["outputs"]:
                if "text/html" in output.get("data", {}):
                    return "".join(output["data"]["text/html"])
    raise ValueError(f"{path}: expected a cell tagged gallery whose output is a figure")


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
        cards.append(
            f'<a class="card" href="{slug}.html">{_picture(path, cells)}<span>{html.escape(_title(cells))}</span></a>'
        )
    return _Html(f'<nav class="gallery" aria-label="Chapters">{"".join(cards)}</nav>', f"{len(cards)} chapters")


def _count(rows, origins, verdict=None):
    return sum(row["origin"] in origins and verdict in (None, row["verdict"]) for row in rows)


def scoreboard(folder):
    """The verdicts of every chapter executed in `folder`: the papers' claims counted, implied ones and ours beside them."""
    chapters = {slug: read(path) for slug, path in _chapters(folder).items()}
    everything = [row for rows in chapters.values() for row in rows]
    shown = [verdict for verdict in VERDICTS if _count(everything, ("paper",), verdict)]
    head = "".join(f'<th scope="col">{SIGNS[v]} {v}</th>' for v in shown)
    head += "".join(f'<th scope="col">{origin}: {SIGNS[HOLDS]} of</th>' for origin in ("implied", "ours"))
    lines = []
    for slug, rows in chapters.items():
        cells = "".join(f"<td>{_count(rows, ('paper',), verdict)}</td>" for verdict in shown)
        cells += "".join(f"<td>{_count(rows, (o,), HOLDS)} of {_count(rows, (o,))}</td>" for o in ("implied", "ours"))
        lines.append(f'<tr><th scope="row"><a href="{slug}.html">{slug}</a></th>{cells}</tr>')
    total = f"{_count(everything, ('paper',))} claims of {len(chapters)} papers"
    return _Html(
        f'<div class="claims scoreboard"><table><caption>{total}, measured when this book was built; beside them, how many '
        f"hold of those that we read out of the papers (implied) and of our own</caption>"
        f'<thead><tr><th scope="col">chapter</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>',
        total,
    )


def exceptions(folder):
    """Every claim of the chapters in `folder` that does not hold, is undecided or whose conditions were not met."""
    text, count = "", 0
    for verdict in (FAILS, UNDECIDED, UNMET):
        items = []
        for slug, path in _chapters(folder).items():
            for row in (row for row in read(path) if row["verdict"] == verdict):
                says, here, provided = (html.escape(str(row[key])) for key in ("says", "here", "premise"))
                link = f'<a href="{slug}.html#{anchor(row["id"])}">{html.escape(row["id"])}</a>'
                why = f" Premise: {provided}." if verdict == UNMET and provided else ""
                items.append(f"<li>{link} ({origin(row)}): {says} Measured: {here}.{why} {seeds(row['id'])}</li>")
        count += len(items)
        if items:
            text += f"<p><strong>{SIGNS[verdict]} {verdict}</strong></p><ul>{''.join(items)}</ul>"
    return _Html(text or "<p>Nothing, so far.</p>", f"{count} claims")
