"""The front page and the honesty page: cards, a scoreboard and what did not hold, all read from executed chapters."""

import html
import json
import re
from pathlib import Path

import yaml

from .cards import sketch
from .claims import ORIGINS
from .figures import Html
from .ledger import ROOT
from .verdicts import FAILS, HOLDS, SIGNS, UNDECIDED, UNJUDGED, UNMET, anchor, origin, read, seeds

TOC = ROOT / "_toc.yml"
BIBLIOGRAPHY = ROOT / "book/references.bib"
VERDICTS = (HOLDS, FAILS, UNDECIDED, UNMET, UNJUDGED)


def _chapters(folder):
    """Executed chapters in `folder`, in the order of the table of contents: {slug: (path, the part that it stands in)}."""
    parts = yaml.safe_load(TOC.read_text(encoding="utf-8"))["parts"]
    places = {Path(chapter["file"]).name: part["caption"] for part in parts for chapter in part["chapters"]}
    paths = {slug: (Path(folder) / f"{slug}.ipynb", part) for slug, part in places.items()}
    return {slug: (path, part) for slug, (path, part) in paths.items() if path.exists() and read(path)}


def _text(path):
    """All that a chapter says in Markdown, as lines."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines()]


def _title(lines):
    return next(line[2:] for line in lines if line.startswith("# "))


def _paper(lines):
    """The paper that a chapter cites first: its title, and its authors with the year, as text."""
    from pybtex.database import parse_file

    key = re.search(r"\{cite\}`([^`,]+)", "\n".join(lines))
    if key is None:
        raise ValueError(f"{_title(lines)!r}: expected a chapter that cites its paper")
    entry = parse_file(str(BIBLIOGRAPHY)).entries[key[1]]
    names = [" ".join([*person.prelast_names, *person.last_names]) for person in entry.persons["author"]]
    authors = " and ".join(names) if len(names) <= 2 else f"{names[0]} et al."
    return re.sub(r"[{}]", "", entry.fields["title"]), f"{authors}, {entry.fields['year']}"


def gallery(folder):
    """One card a chapter in `folder`: its sketch and question, the paper, and the verdicts on what the paper claims."""
    cards = []
    for slug, (path, _) in _chapters(folder).items():
        lines, rows = _text(path), read(path)
        title, authors = (html.escape(text) for text in _paper(lines))
        whose, origins = ("The paper's claims", ("paper",)) if _count(rows, ("paper",)) else ("Implied claims", ("implied",))
        counted = [(verdict, _count(rows, origins, verdict)) for verdict in VERDICTS]
        signs = " ".join(f"{SIGNS[verdict]}\N{NO-BREAK SPACE}{count}" for verdict, count in counted if count)
        words = html.escape(f"{whose}: " + ", ".join(f"{count} {verdict}" for verdict, count in counted if count))
        cards.append(
            f'<li>{sketch(slug)}<p class="question"><a href="{slug}.html">{html.escape(_title(lines))}</a></p>'
            f"<p><cite>{title}</cite>, {authors}</p>"
            f'<p class="facts"><span role="img" aria-label="{words}" title="{words}">{signs}</span> '
            f'<span class="minutes" data-page="{slug}"></span></p></li>'
        )
    return Html(f'<ul class="gallery">{"".join(cards)}</ul>', f"{len(cards)} chapters")


def _count(rows, origins, verdict=None):
    return sum(row["origin"] in origins and verdict in (None, row["verdict"]) for row in rows)


def scoreboard(folder):
    """The verdicts of every chapter executed in `folder`: the papers' claims counted, implied ones and ours beside them.

    Below it stand all claims, with menus to choose among them.
    """
    chapters = {slug: (read(path), part) for slug, (path, part) in _chapters(folder).items()}
    everything = [row for rows, _ in chapters.values() for row in rows]
    shown = [verdict for verdict in VERDICTS if _count(everything, ("paper",), verdict)]
    head = "".join(f'<th scope="col">{SIGNS[v]} {v}</th>' for v in shown)
    head += "".join(f'<th scope="col">{origin}: {SIGNS[HOLDS]} of</th>' for origin in ("implied", "ours"))
    lines = []
    for slug, (rows, _) in chapters.items():
        cells = "".join(f"<td>{_count(rows, ('paper',), verdict)}</td>" for verdict in shown)
        cells += "".join(f"<td>{_count(rows, (o,), HOLDS)} of {_count(rows, (o,))}</td>" for o in ("implied", "ours"))
        lines.append(f'<tr><th scope="row"><a href="{slug}.html">{slug}</a></th>{cells}</tr>')
    total = f"{_count(everything, ('paper',))} claims of {len(chapters)} papers"
    return Html(
        f'<div class="claims scoreboard"><table><caption>{total}, measured when this book was built; beside them, how many '
        f"hold of those that we read out of the papers (implied) and of our own</caption>"
        f'<thead><tr><th scope="col">chapter</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        + _choice(chapters),
        total,
    )


def _choice(chapters):
    """All claims of `chapters` in a table, with menus by which a script in the page chooses among them."""
    rows = [(slug, part, row) for slug, (rows, part) in chapters.items() for row in rows]
    menus = (
        ("part", "Part", [part for _, part in chapters.values()]),
        ("origin", "Whose claim", [one for one in ORIGINS if _count([row for *_, row in rows], (one,))]),
        ("verdict", "Verdict", [one for one in VERDICTS if _count([row for *_, row in rows], ORIGINS, one)]),
    )
    filters = "".join(
        f'<label>{label} <select name="{name}"><option value="">all</option>'
        + "".join(f"<option>{html.escape(option)}</option>" for option in dict.fromkeys(options))
        + "</select></label>"
        for name, label, options in menus
    )
    lines = "".join(
        f'<tr data-part="{html.escape(part)}" data-origin="{row["origin"]}" data-verdict="{row["verdict"]}">'
        f'<th scope="row"><a href="{slug}.html#{anchor(row["id"])}">{html.escape(row["id"])}</a></th>'
        f'<td data-head="claim">{html.escape(row["says"])} <small>({origin(row)})</small></td>'
        f'<td data-head="verdict">{SIGNS[row["verdict"]]} {row["verdict"]}</td></tr>'
        for slug, part, row in rows
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("name", "claim", "verdict"))
    return (
        f'<details class="choice"><summary>All {len(rows)} claims, to choose from by part, origin and verdict</summary>'
        f"<form hidden>{filters}<output></output></form>"
        f'<div class="claims"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div></details>'
    )


def exceptions(folder):
    """Every claim of the chapters in `folder` that does not hold, is undecided or whose conditions were not met."""
    text, count = "", 0
    for verdict in (FAILS, UNDECIDED, UNMET):
        items = []
        for slug, (path, _) in _chapters(folder).items():
            for row in (row for row in read(path) if row["verdict"] == verdict):
                says, here, provided = (html.escape(str(row[key])) for key in ("says", "here", "premise"))
                link = f'<a href="{slug}.html#{anchor(row["id"])}">{html.escape(row["id"])}</a>'
                why = f" Premise: {provided}." if verdict == UNMET and provided else ""
                items.append(f"<li>{link} ({origin(row)}): {says} Measured: {here}.{why} {seeds(row['id'])}</li>")
        count += len(items)
        if items:
            text += f"<p><strong>{SIGNS[verdict]} {verdict}</strong></p><ul>{''.join(items)}</ul>"
    return Html(text or "<p>Nothing, so far.</p>", f"{count} claims")
