"""One plot style for the book: vector figures that take the page's own ink, so they read in light and dark mode.

Figures are inline SVG. Everything drawn in `INK` becomes the page's text colour (`currentColor`), text stays text, and
each figure carries its alternative text. The palette is colour-blind-safe (after Okabe and Ito, "Color Universal Design",
2008) with every colour at least 3:1 against a white and against a near-black page.
"""

import functools
import html
import io
import math
import re

import matplotlib
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.figure import Figure
from matplotlib.scale import LogScale, register_scale
from matplotlib.textpath import TextToPath
from matplotlib.ticker import LogFormatter

from .layout import clear, stack

POINTS = 72  # to an inch: what an SVG is drawn and measured in
RASTER = 110  # dots to an inch, of raster parts only
INK = "#000001"  # stands for the page's text colour
BLUE, RED, GREEN, PINK, OCHRE, GREY = PALETTE = ("#0072b2", "#d55e00", "#009e73", "#bf5f98", "#a67c00", "#808080")

matplotlib.rcParams.update(
    {
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": INK,
        "grid.alpha": 0.15,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=PALETTE),  # type: ignore[attr-defined]
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "font.size": 9.5,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.6,
        "lines.markersize": 4.5,
        "image.cmap": "viridis",
        "svg.fonttype": "none",
    }
)


class _PowerFormatter(LogFormatter):
    """10⁻³ for powers of ten, plain numbers otherwise: text that a screen reader reads, and far faster than mathtext."""

    def __call__(self, x, pos=None):
        if x <= 0 or not super().__call__(x, pos):
            return ""
        power = round(math.log10(x))
        if self._base != 10 or not math.isclose(x, 10.0**power) or -2 < power < 4:
            return f"{x:.4g}"
        return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


class _PlainLogScale(LogScale):
    name = "log"

    def __init__(self, **options):
        super().__init__(None, **options)

    def set_default_locators_and_formatters(self, axis):
        super().set_default_locators_and_formatters(axis)
        axis.set_major_formatter(_PowerFormatter(self.base))
        axis.set_minor_formatter(_PowerFormatter(self.base, labelOnlyBase=self.subs is not None))


register_scale(_PlainLogScale)


@functools.lru_cache(10_000)
def _extent(text, font, is_math):
    """Width, height and descent of a line of text in points."""
    return TextToPath().get_text_width_height_descent(text, font, is_math)


class _Pen(RendererSVG):
    """Draws SVG as matplotlib does, but measures a line of text once, not anew for every picture."""

    def get_text_width_height_descent(self, s, prop, ismath):
        return _extent(s, prop.copy(), ismath)  # a copy, because fonts are mutable


class _Canvas(FigureCanvasSVG):
    """Lays a figure out by the measures of the pen that draws it."""

    pen = _Pen(1, 1, io.StringIO())

    def get_renderer(self):
        return self.pen


def figure(rows=1, cols=1, width=7.2, height=3.2, **axes):
    """A figure in the book's style and its axes, as `matplotlib.pyplot.subplots` gives them. Sizes in inches."""
    fig = Figure(figsize=(width, height), layout="constrained", dpi=POINTS)
    _Canvas(fig)
    return fig, fig.subplots(rows, cols, **axes)


def svg(fig, salt):
    """`fig` as an inline `<svg>` (text), whose ids come from `salt`. Same figure and text, same bytes."""
    out, (width, height) = io.StringIO(), fig.get_size_inches()
    with matplotlib.rc_context({"svg.hashsalt": salt}):  # ids differ from figure to figure on one page
        pen = _Pen(POINTS * width, POINTS * height, out, image_dpi=RASTER, metadata={"Date": None, "Creator": None})
        fig.draw(MixedModeRenderer(fig, width, height, RASTER, pen))
        pen.finalize()
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", text)  # no one refers to them, and they would not be unique
    text = re.sub(r"(\d\.\d\d)\d+(?=[^\"<>]*\"[^<]*>)", r"\1", text)  # hundredths of a point are enough
    return re.sub(r"\n\s*", "\n", text)


def layouts(fig, salt):
    """`fig` as two pictures, of which the page shows the one that fits: as it was drawn, and stacked for a phone."""
    pictures = []
    for kind, hidden in (("wide", ""), ("narrow", ";display:none")):
        if kind == "narrow":
            stack(fig)
        else:
            fig.get_layout_engine().execute(fig)
        clear(fig)
        picture = svg(fig, f"{salt} {kind}")
        style = f'class="{kind}" aria-hidden="true" style="max-width:100%;height:auto{hidden}"'
        pictures.append(picture.replace("<svg ", f"<svg {style} ", 1))
    return "".join(pictures)


def plot(alt, pictures):
    """A figure of the page (HTML): pictures that a screen reader reads as one, by `alt`."""
    return f'<figure class="plot" role="img" aria-label="{html.escape(alt, quote=True)}">{pictures}</figure>'


class Html:
    """What a cell puts on the page, and what it says where there is no page."""

    def __init__(self, text, plain):
        self.html, self.plain = text, plain

    def _repr_mimebundle_(self, **kwargs):
        return {"text/html": self.html, "text/plain": self.plain}


class show(Html):
    """Put `fig` on the page, with `alt` saying in words what it shows. The last expression of a cell."""

    def __init__(self, fig, alt):
        if not isinstance(alt, str) or len(alt) < 20:
            raise ValueError(f"alt = {alt!r}: expected a sentence that says what the figure shows")
        super().__init__(plot(alt, layouts(fig, alt)), alt)
