"""The pictures on the front page's cards: sketches of what a chapter is about, in two colours, with no data in them."""

import itertools
import math
import random
from collections.abc import Iterable

SIZE = 160, 90
FAINT, STRONG = "ink", "accent"  # classes: the page's ink, and the book's blue


def _dot(x, y, kind, r=3.0):
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'


def _line(points, kind, width=1.5):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}" stroke-width="{width}"/>'


def _scatter(count, x, y, spread, seed):
    draw = random.Random(seed)
    return [(draw.gauss(x, spread), draw.gauss(y, spread)) for _ in range(count)]


def _geneft():
    """Points at random come together in three places."""
    places = [(45, 30), (115, 25), (85, 68)]
    for k, (x, y) in enumerate(_scatter(24, 80, 45, 22, 1)):
        to = places[k % 3][0] + 6 * math.cos(k), places[k % 3][1] + 6 * math.sin(k)
        yield _line([(x, y), to], FAINT, 0.5)
        yield _dot(x, y, FAINT, 1.2)
        yield _dot(*to, STRONG, 2.6)


def _grokking():
    """One curve rises early, the other late."""
    for middle, kind in ((35, FAINT), (115, STRONG)):
        yield _line([(x, 78 - 64 / (1 + math.exp((middle - x) / 5))) for x in range(8, 153, 2)], kind, 2.5)


def _lottery():
    """A bundle of curves in the shape of a W, and their mean."""
    grid = [k / 40 for k in range(-40, 41)]
    for k in range(9):
        shape = [(35 * z**4 - 30 * z**2 + 3) / 8 + 0.12 * math.sin(3 * z + k) * (k % 3) for z in grid]
        curve = [(80 + 70 * z, 55 - 32 * s) for z, s in zip(grid, shape, strict=True)]
        yield _line(curve, FAINT, 0.6)
    yield _line([(80 + 70 * z, 55 - 32 * (35 * z**4 - 30 * z**2 + 3) / 8) for z in grid], STRONG, 3)


def _resource():
    """Neurons, shared out among two tasks."""
    for k in range(40):
        yield _dot(17 + 14 * (k % 10), 24 + 14 * (k // 10), STRONG if k % 10 < 6 else FAINT, 4.2)


def _mips():
    """States on a lattice, and the lines of a program."""
    for i in range(6):
        for j in range(6):
            taken = (2 * i + j) % 5 == 0
            yield _dot(14 + 11 * i, 18 + 11 * j, STRONG if taken else FAINT, 3.4 if taken else 1)
    for k, (start, end) in enumerate([(96, 130), (104, 146), (104, 138), (112, 150), (96, 124)]):
        yield _line([(start, 22 + 12 * k), (end, 22 + 12 * k)], STRONG if k in (1, 3) else FAINT, 4)


def _net(x, y, sizes, kind, step=22, gap=16):
    """A drawn network: its connections and its neurons."""
    layers = [[(x + step * k, y + gap * (j - (n - 1) / 2)) for j in range(n)] for k, n in enumerate(sizes)]
    for before, after in itertools.pairwise(layers):
        for a in before:
            for b in after:
                yield _line([a, b], kind, 0.7)
    for layer in layers:
        for node in layer:
            yield _dot(*node, kind, 3.4)


def _hypernetworks():
    """One network makes the other."""
    yield from _net(16, 45, (2, 4, 2), FAINT)
    yield _line([(70, 45), (88, 45)], STRONG, 2.5)
    yield _line([(82, 39), (88, 45), (82, 51)], STRONG, 2.5)
    yield from _net(102, 45, (3, 5, 1), STRONG)


def _brains():
    """Units on a sheet, neighbours of a kind wired to each other."""
    places = [(22 + 17 * i, 18 + 18 * j) for i in range(8) for j in range(4)]
    kinds = [STRONG if x + y < 110 else FAINT for x, y in places]
    for k, (x, y) in enumerate(places):
        for m, (u, v) in enumerate(places[:k]):
            if kinds[k] == kinds[m] and math.hypot(x - u, y - v) < 26:
                yield _line([(x, y), (u, v)], kinds[k], 0.8)
    for (x, y), kind in zip(places, kinds, strict=True):
        yield _dot(x, y, kind, 3.6)


def _truth():
    """Two clouds, and the direction from one to the other."""
    for x, y in _scatter(26, 50, 56, 11, 2):
        yield _dot(x, y, FAINT, 2.4)
    for x, y in _scatter(26, 110, 34, 11, 3):
        yield _dot(x, y, STRONG, 2.4)
    yield _line([(50, 56), (110, 34)], STRONG, 3)
    yield _line([(100, 31), (110, 34), (104, 43)], STRONG, 3)


def _audits():
    """A box with one way in and one way out, and a lens over a part of it."""
    yield '<rect class="ink fill" x="48" y="18" width="64" height="54" rx="4"/>'
    for x in (14, 116):
        yield _line([(x, 45), (x + 30, 45)], FAINT, 2.5)
        yield _line([(x + 23, 39), (x + 30, 45), (x + 23, 51)], FAINT, 2.5)
    yield '<circle class="accent ring" cx="94" cy="38" r="17"/>'
    yield from _net(86, 38, (2, 3), "lens", 16, 9)
    yield _line([(106, 51), (122, 70)], STRONG, 5)


def _disempowerment():
    """Five people in a row; what comes has reached the first, and some stand together."""
    for k in range(5):
        x, kind = 44 + 25 * k, FAINT if k == 0 else STRONG
        yield _dot(x, 38, kind, 6)
        yield f'<path class="{kind} fill" d="M{x - 10} 68a10 17 0 0 1 20 0z"/>'
        if k > 1:
            yield _line([(x - 17, 58), (x - 8, 58)], STRONG, 3)
    yield _line([(8, 45), (28, 45)], FAINT, 3)
    yield _line([(21, 38), (28, 45), (21, 52)], FAINT, 3)


SKETCHES = {
    "geneft": _geneft,
    "grokking": _grokking,
    "lottery": _lottery,
    "resource": _resource,
    "mips": _mips,
    "hypernetworks": _hypernetworks,
    "brains": _brains,
    "truth": _truth,
    "audits": _audits,
    "disempowerment": _disempowerment,
}


def sketch(slug: str) -> str:
    """The sketch of a chapter as inline SVG, hidden from screen readers: the card says in words what the chapter asks.

    Raises:
        ValueError: if there is none.
    """
    if slug not in SKETCHES:
        raise ValueError(f"slug = {slug!r}: expected one of {', '.join(SKETCHES)}")
    parts: Iterable[str] = SKETCHES[slug]()
    return f'<svg class="sketch" viewBox="0 0 {SIZE[0]} {SIZE[1]}" aria-hidden="true">{"".join(parts)}</svg>'
