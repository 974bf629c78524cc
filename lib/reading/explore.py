"""Explorables: sliders over pictures drawn in advance, so they move in the static page with no kernel and no network.

The sliders are the browser's own, so a keyboard, a finger and a screen reader work them alike. What the pictures share is
stored once. The opening picture stands in the page itself: it is there before, and without, any script.
"""

import hashlib
import html
import json
from itertools import product
from pathlib import Path

from .figures import Html, layouts, plot
from .progress import progress

FRAMES = 60  # at most: a page stays light
SCRIPT = Path(__file__).with_name("explore.js")


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def explore(draw, alt, /, start=None, **axes):
    """One or two sliders over the pictures that `draw` makes.

    Args:
        draw: called once for each combination of values, by keyword; returns a matplotlib figure.
        alt: alternative text of every frame; `{name}` stands for an axis's value.
        start: the values that it opens at, `{name: value}`, where something is to be seen; by default each axis's first.
        axes: one or two axes, each a sequence of values; at most 60 combinations together.

    Returns:
        What the cell shows: the opening picture in HTML, the other ones as data beside it, and a script that moves them.

    Raises:
        ValueError: if there is no axis, more than two, an empty one, more than 60 frames, or a start that is on none.
    """
    axes = {name: list(values) for name, values in axes.items()}
    count = 1
    for values in axes.values():
        count *= len(values)
    if not 1 <= len(axes) <= 2 or not 1 <= count <= FRAMES:
        sizes = {name: len(values) for name, values in axes.items()}
        raise ValueError(f"axes = {sizes}: expected one or two axes with 1 to {FRAMES} frames together")

    opening = {name: values[0] for name, values in axes.items()} | (start or {})
    for name, value in opening.items():
        if name not in axes or value not in axes[name]:
            raise ValueError(f"start = {start}: expected values of the axes {axes}")
    at = [values.index(opening[name]) for name, values in axes.items()]

    points = list(product(*axes.values()))
    frames = [layouts(draw(**dict(zip(axes, point, strict=True))), alt) for point in progress("frames")(points)]
    words = [alt.format(**dict(zip(axes, map(_text, point), strict=True))) for point in points]
    first = at[0] if len(at) == 1 else at[0] * len(list(axes.values())[1]) + at[1]

    lines = {}
    numbers = [[lines.setdefault(line, len(lines)) for line in frame.split("\n")] for frame in frames]
    data = json.dumps(
        {"lines": list(lines), "frames": numbers, "words": words}, separators=(",", ":"), ensure_ascii=False
    ).replace("</", "<\\/")
    identity = hashlib.sha256(alt.encode()).hexdigest()[:8]
    sliders = "".join(
        _slider(f"explorable-{identity}-{name}", name, [_text(value) for value in values], index)
        for index, (name, values) in zip(at, axes.items(), strict=True)
    )
    return Html(
        f'<div class="explorable"><div class="sliders" hidden>{sliders}</div>{plot(words[first], frames[first])}'
        '<p class="still">This is one picture of several: in the online book, with JavaScript, sliders move it.</p>'
        '<output style="position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"></output>'
        f'<script type="application/json">{data}</script>'
        f"<script>{SCRIPT.read_text(encoding='utf-8')}</script></div>",
        words[first],
    )


def _slider(identity, name, texts, index):
    """A slider over `texts` with its name and its value in words, opening at `index`."""
    identity, name = html.escape(identity, quote=True), html.escape(name.replace("_", " "))
    stops = html.escape(json.dumps(texts, ensure_ascii=False), quote=True)
    now = html.escape(texts[index], quote=True)
    return (
        f'<div><label for="{identity}">{name}</label> <span class="value" aria-hidden="true">{now}</span>'
        f'<input type="range" id="{identity}" min="0" max="{len(texts) - 1}" value="{index}" autocomplete="off"'
        f' aria-valuetext="{now}" data-stops="{stops}" style="width:100%"></div>'
    )
