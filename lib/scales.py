"""What a chapter's parameters are at a scale: `python -m lib.scales SCALE CHAPTER` prints them, as papermill reads them."""

import sys
from pathlib import Path

import yaml

from .checks import nearest

BOOK = Path(__file__).parents[1] / "book"


def scales() -> list[str]:
    """The scales' names: "book", the chapters' own defaults, and those of the files in `book/params`."""
    return sorted({"book", *(path.stem for path in BOOK.glob("params/*.yaml"))})


def at_scale(scale: str, chapter: str) -> dict:
    """The parameters that a chapter (a slug) has at a scale, where they are not its own defaults.

    Raises:
        ValueError: for an unknown scale, and for a file of parameters that names an unknown chapter.
    """
    if scale not in scales():
        raise ValueError(f"scale = {scale!r}: expected one of {scales()}, the nearest is {nearest(scale, scales())}")
    path = BOOK / f"params/{scale}.yaml"
    given = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {}
    chapters = {page.stem for page in BOOK.glob("*.md")}
    for name in given:
        if name not in chapters:
            raise ValueError(f"{path.name}: {name}: expected chapters, the nearest is {nearest(name, chapters)}")
    return given.get(chapter) or {}


if __name__ == "__main__":
    try:
        yaml.safe_dump(at_scale(*sys.argv[1:]), sys.stdout)
    except ValueError as fault:
        sys.exit(str(fault))
