"""The code cells of the pages, held to ruff and its formatter: `python tests/cells.py [--write]`.

Cells are 80 columns wide, which is what a page shows without a scroll bar. Parameter cells keep a parameter a line.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import jupytext

BOOK = Path(__file__).parent.parent / "book"
PAGES = [page for page in sorted(BOOK.glob("*.md")) if "jupytext:" in page.read_text(encoding="utf-8")[:100]]  # notebooks
WIDTH = 80
RUFF = {
    "check": [f"line-length={WIDTH}", "lint.isort.split-on-trailing-comma=false", "lint.extend-select=['E501']"],
    "format": [f"line-length={WIDTH}", "lint.isort.split-on-trailing-comma=false", "format.skip-magic-trailing-comma=true"],
}


def code_cells(page):
    """The notebook of `page` (path) and its code cells, without the parameters."""
    notebook = jupytext.read(page)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return notebook, [cell for cell in cells if "parameters" not in cell.metadata.get("tags", [])]


def ruff(command, path, *options):
    """Run ruff on a file or folder as a user would; its exit status."""
    settings = [part for line in RUFF[command] for part in ("--config", line)]
    return subprocess.run(["ruff", command, *settings, *options, str(path)]).returncode


def main(write):
    """Check all pages, or format them in place; 1 if something is wrong."""
    with tempfile.TemporaryDirectory(dir=BOOK.parent) as scratch:  # below ruff's settings
        notebooks = {page: Path(scratch) / f"{page.stem}.ipynb" for page in PAGES}
        for page, path in notebooks.items():
            notebook, cells = code_cells(page)
            notebook.cells = cells
            jupytext.write(notebook, path)
        if not write:  # names of the parameters are not known here
            return ruff("check", scratch, "--ignore", "F821") | ruff("format", scratch, "--check", "--diff")
        ruff("check", scratch, "--fix", "--quiet", "--ignore", "F821")
        ruff("format", scratch)
        for page, path in notebooks.items():
            notebook, cells = code_cells(page)
            fresh = [cell.source for cell in jupytext.read(path).cells]
            if fresh != [cell.source for cell in cells]:
                for cell, source in zip(cells, fresh, strict=True):
                    cell.source = source
                jupytext.write(notebook, page)
    return 0


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
