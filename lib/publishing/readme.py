"""The README's table of chapters, from pages, bibliography and ledger: `python -m lib.publishing.readme` rewrites it."""

import ast
import re

import jupytext

from lib.reading.ledger import recorded
from lib.reading.verdicts import SIGNS

from .bibliography import ROOT, references

README = ROOT / "README.md"
START, END = "<!-- the table of chapters: written by `make readme` -->\n", "<!-- the end of the table -->\n"
HEADLINES = (  # of each chapter, in the order of the book, the claim that says most about its question
    "geneft/goldilocks",
    "grokking/compression",
    "lottery/mechanism",
    "resource/inverse",
    "mips/solves",
    "hypernetworks/found",
    "brains/localised",
    "truth/line",
    "audits/stronger",
    "disempowerment/unite",
)


def sentences(code: list[str]) -> dict[str, str]:
    """What the claims judged in cells of code say, by their names: `claims.judge("name", "what it says.", …)`."""
    calls = [node for cell in code for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
    judged = [call.args[:2] for call in calls if getattr(call.func, "attr", "") == "judge"]
    plain = [[part.value for part in pair if isinstance(part, ast.Constant)] for pair in judged]
    return {str(pair[0]): str(pair[1]) for pair in plain if len(pair) == 2}


def verdict(identity: str) -> str:
    """The ledger's five signs of a claim and its measured value at seed 0, as Markdown."""
    found = recorded(identity)
    if not found:
        return "not recorded yet"
    return f"{''.join(SIGNS[entry['verdict']] for _, entry in sorted(found.items()))} {found['0']['here']}"


def row(identity: str) -> str:
    """The line of a chapter, by its headline's id."""
    chapter, _, name = identity.partition("/")
    cells = jupytext.read(ROOT / f"book/{chapter}.md").cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    title, cited = re.findall(r"^# (.*)", text, re.M)[0], re.findall(r"\{cite\}`([^`,]+)", text)[0]
    paper = references()[cited]
    where, address = paper.links[0]
    says = sentences([cell.source for cell in cells if cell.cell_type == "code"])[name]
    return f"| [{title}](book/{chapter}.md) | {paper.names}, [{where}]({address}) | {says} | {verdict(identity)} |\n"


def table() -> str:
    """The whole table as Markdown."""
    head = "| chapter | paper | one of its claims | its verdict at five seeds, its value at the first |\n|---|---|---|---|\n"
    return head + "".join(map(row, HEADLINES))


def main():
    """Rewrite the table in place."""
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    README.write_text(before + START + table() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
