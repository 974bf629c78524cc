"""The picture that other sites show beside a link to a page: 1200 by 630 pixels, the title and the chapter's own picture."""

import html
import re
import textwrap
from pathlib import Path

import matplotlib
import resvg_py

FONTS = [Path(matplotlib.get_data_path()) / f"fonts/ttf/{name}.ttf" for name in ("DejaVuSans", "DejaVuSans-Bold")]


def card(title: str, drawing: str | None, site: str) -> bytes:
    """A PNG with the page's title, an SVG drawing below it if there is one, and the name of the site."""
    lines = textwrap.wrap(title, 40)
    words = "".join(
        f'<text x="60" y="{95 + 54 * row}" font-size="44" font-weight="bold">{html.escape(line)}</text>'
        for row, line in enumerate(lines)
    )
    top, inner = 95 + 54 * len(lines), ""
    if drawing:
        box = re.search(r'viewBox="[^"]*"', drawing)
        body = drawing[drawing.index(">") + 1 : drawing.rindex("</svg>")]
        inner = f'<svg x="60" y="{top - 30}" width="1080" height="{570 - top}" {box.group() if box else ""}>{body}</svg>'
    whole = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="1200" height="630" '
        f'font-family="DejaVu Sans"><rect width="1200" height="630" fill="white"/>{words}{inner}'
        f'<text x="1140" y="600" font-size="24" text-anchor="end" fill="#555">{html.escape(site)}</text></svg>'
    )
    picture = resvg_py.svg_to_bytes(
        svg_string=whole,
        skip_system_fonts=True,  # the same picture on every machine
        font_files=[str(path) for path in FONTS],
        font_family="DejaVu Sans",
        sans_serif_family="DejaVu Sans",
    )
    return bytes(picture)
