"""How a figure is laid out: legends that lie on no data, and a second layout for phones with its panels below each other."""

import itertools
import math

from matplotlib.collections import PolyCollection
from matplotlib.gridspec import GridSpec
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

PHONE = 3.6  # inches; shown at least 340 pixels wide, where 8.5 points are 11 pixels
PANEL = 2.6  # inches; no panel need be taller there
SMALLEST, LARGEST = 8.5, 9.2  # points of text on a phone
PLACES = {
    f"{v} {h}".replace("center center", "center"): (x, y)
    for v, y in (("upper", 1), ("lower", 0), ("center", 0.5))
    for h, x in (("right", 1), ("left", 0), ("center", 0.5))
}


def _data(ax):
    """What is drawn on `ax` as data: the path of each artist in pixels, and whether it is filled (None: single points)."""
    for line in ax.lines:
        if all(line.get_transform().contains_branch_seperately(ax.transData)):
            path = line.get_transform().transform_path(line.get_path()).cleaned(remove_nans=True)
            yield path, None if line.get_linestyle() == "None" else False
    for patch in ax.patches:
        yield patch.get_transform().transform_path(patch.get_path()), True
    for collection in ax.collections:
        offsets = collection.get_offset_transform().transform(collection.get_offsets())
        if len(offsets) and not isinstance(collection, PolyCollection):
            yield Path(offsets), None
        for path in collection.get_paths() if isinstance(collection, PolyCollection) or not len(offsets) else ():
            yield collection.get_transform().transform_path(path), isinstance(collection, PolyCollection)
    for artist in (*ax.images, *ax.texts):
        yield Path(artist.get_window_extent().corners()[[0, 1, 3, 2]]), True


def covers(box, data):
    """Whether a rectangle lies on any of the `data`."""
    return any(
        box.count_contains(path.vertices) if filled is None else path.intersects_bbox(box, filled) for path, filled in data
    )


def clear(fig):
    """Move each legend that lies on the data of its axes to where there is none, or else below them.

    The figure has been laid out. Only a legend that leaves its axes, or comes back to them, has that done again.
    """
    if _moved(fig):
        fig.get_layout_engine().execute(fig)
    fig.set_layout_engine(None)  # it need not be done again to draw it


def _moved(fig):
    """Move the legends that must be; whether one has left its axes, or had, so that the layout must be done again."""
    left = False
    for ax in fig.axes:
        legend = ax.get_legend()
        if legend is None:
            continue
        box, room, data = legend.get_window_extent(), ax.get_window_extent().padded(-2), list(_data(ax))
        below = box.y1 <= room.y0
        apart = legend._bbox_to_anchor is not None  # its author has put it beside the axes
        inside = apart or (box.x0 >= room.x0 and box.x1 <= room.x1)
        if not below and inside and not covers(box, data):
            continue
        fits = not below and box.width <= room.width and box.height <= room.height
        free = (place for place, at in PLACES.items() if fits and not covers(box.anchored(at, room), data))
        place = next(free, None)
        within = not apart and box.y0 >= room.y0 and box.y1 <= room.y1 and inside
        left = left or not (place and within)
        if place:
            legend.set_loc(place)
        else:
            axis = ax.xaxis.get_tightbbox()
            drop = (ax.get_window_extent().y0 - axis.y0) / fig.dpi if axis else 0
            legend.set_loc("upper center")
            legend.set_bbox_to_anchor((0.5, 0), ax.transAxes + ScaledTranslation(0, -drop, fig.dpi_scale_trans))
    return left


def stack(fig):
    """Lay `fig` out anew for a phone: `PHONE` inches wide, no more panels beside each other than fit, no small text."""
    fig.set_layout_engine("constrained")
    _keep_whole(fig)
    height = _restack(fig)
    fig.set_size_inches(PHONE, height * _legible(fig))
    for place in (fig, *fig.axes):
        _narrow(place)
    fig.get_layout_engine().execute(fig)
    if _thinned(fig):
        fig.get_layout_engine().execute(fig)


def _keep_whole(fig):
    """Where only whole numbers are labelled, so it stays."""
    for axis in (axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)):
        if isinstance(axis.get_major_locator(), MaxNLocator) and all(t == round(t) for t in axis.get_majorticklocs()):
            axis.get_major_locator().set_params(integer=True)


def _restack(fig):
    """Put the panels below each other, as many to a row as keep their width; the height in inches that they need.

    They go column by column if only the first row has titles, else row by row.
    """
    width, height = fig.get_size_inches()
    panels = [ax for ax in fig.axes if ax.get_subplotspec() is not None]
    grid = panels[0].get_subplotspec().get_gridspec()
    beside = max(1, math.floor(PHONE * grid.ncols / width))
    tall = [height * part / sum(grid.get_height_ratios()) for part in grid.get_height_ratios()]
    if beside >= grid.ncols:
        return height
    _label(panels)
    cells = {ax: divmod(ax.get_subplotspec().num1, grid.ncols) for ax in panels}
    by_column = grid.nrows > 1 and not any(ax.get_title(loc="left") for ax, (row, _) in cells.items() if row)
    order = sorted(set(cells.values()), key=lambda cell: cell[::-1] if by_column else cell)
    rows = [0.0] * math.ceil(len(order) / beside)
    for ax, cell in cells.items():
        k = order.index(cell) // beside
        rows[k] = max(rows[k], min(PANEL, tall[cell[0]]) if ax.axison else tall[cell[0]])
    fresh = GridSpec(len(rows), beside, figure=fig, height_ratios=rows)
    for ax, cell in cells.items():
        ax.set_subplotspec(fresh[divmod(order.index(cell), beside)])
    return sum(rows)


def _legible(fig):
    """Bring all text to a size between `SMALLEST` and `LARGEST`, and let it wrap; by how much the smallest has grown."""
    texts = [text for text in fig.findobj(Text) if text.get_text()]
    small = min((text.get_fontsize() for text in texts if text.get_visible()), default=SMALLEST)
    for text in texts:
        text.set_fontsize(min(max(text.get_fontsize(), SMALLEST), LARGEST))
    for ax in fig.axes:
        ax.tick_params(which="both", labelsize=SMALLEST)
        for title in (ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label):
            title.set_wrap(True)
    return max(1, SMALLEST / small)


def _thinned(fig):
    """Where labels below an axis run into each other, fewer of them if they are numbers, else upright ones; if any do."""
    thinned = False
    for ax in fig.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        if any(one.padded(2).overlaps(two) for one, two in itertools.pairwise(boxes)):
            thinned = True
            if isinstance(ax.xaxis.get_major_locator(), MaxNLocator):
                ax.xaxis.set_major_locator(MaxNLocator(4))
            else:
                ax.tick_params(axis="x", labelrotation=90)
    return thinned


def _label(panels):
    """Give panels that shared their tick labels and the label of an axis their own."""
    for side, name, shared in (("labelbottom", "xaxis", "x"), ("labelleft", "yaxis", "y")):
        for ax in panels:
            siblings = getattr(ax, f"get_shared_{shared}_axes")().get_siblings(ax)
            axis = getattr(ax, name)
            if len(siblings) > 1 and axis.get_visible():
                ax.tick_params(**{side: True})
                said = [getattr(other, name).get_label_text() for other in panels if other in siblings]
                axis.set_label_text(axis.get_label_text() or next(filter(None, said), ""))


def _narrow(place):
    """Put the legends of a figure or of an axes anew, in as many columns as fit; none stays beside its axes."""
    inside = hasattr(place, "get_legend")
    for legend in filter(None, [place.get_legend()] if inside else list(place.legends)):
        if inside:
            legend.set_bbox_to_anchor(None)
            if legend.get_window_extent().width < 0.7 * PHONE * legend.figure.dpi:
                continue
        labels = [text.get_text() for text in legend.get_texts()]
        wide = SMALLEST * (4 + 0.55 * max(map(len, labels), default=0))  # points, roughly
        columns = max(1, min(legend._ncols, int((PHONE - inside * 0.8) * 72 / wide)))
        handles, title = legend.legend_handles, legend.get_title().get_text() or None
        legend.remove()
        loc = "upper right" if inside else "outside lower center"
        place.legend(handles, labels, loc=loc, ncols=columns, title=title, fontsize=SMALLEST)
