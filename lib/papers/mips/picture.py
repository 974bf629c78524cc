"""The picture of a machine."""

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

BEND = 0.15  # of arrows, as a share of their length
COLORS = ("#0072b2", "#d55e00", "#808080")  # of states, of the start, of arrows
DRAWN = 10  # states of a machine that is drawn with arrows; larger ones are shown as a table of moves
MARKED = (8, 4)  # states and symbols of a machine whose arrows are marked, at most


def beside(source, target, share=0.4, off=BEND):
    """A point beside an arrow from `source` to `target`, (2,), on the side to which it bends: `off` of its length away."""
    dx, dy = np.subtract(target, source)
    return np.add(source, (share * dx, share * dy)) + off * np.array([dy, -dx])


def draw_machine(ax, machine, colors=COLORS):
    """A `Machine` of at most ten states as circles and arrows marked with the symbols that take them, a larger one as a
    table of moves. Arrows from a state to itself are written beside it, as ↺ and symbols."""
    blue, red, grey = colors
    ax.grid(False)
    if len(machine) > DRAWN:
        ax.imshow(machine.moves, aspect="auto", interpolation="nearest", rasterized=True)
        ax.set(xlabel="symbol (colour: next state)", ylabel="state", title=f"moves of {len(machine)} states")
        return
    ax.set_axis_off()
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", title=f"{len(machine)} state{'s' * (len(machine) > 1)}")
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(machine)) / len(machine)
    place = np.stack([np.cos(angle), np.sin(angle)], 1) * (len(machine) > 1)
    style = {"arrowstyle": "-|>", "color": grey, "connectionstyle": f"arc3,rad={BEND}", "shrinkA": 11, "shrinkB": 11}
    marked = len(machine) <= MARKED[0] and len(machine.symbols) <= MARKED[1]
    for s, t in np.argwhere(np.eye(len(machine))[machine.moves].any(1)):
        read = " ".join("".join(map(str, v)) for v in machine.symbols[machine.moves[s] == t])
        if s != t:
            ax.annotate("", place[t], place[s], arrowprops=style)
        if marked and s != t:
            ax.text(*beside(place[s], place[t]), read, fontsize=7, ha="center", va="center")
        elif marked:
            ax.text(*(1.35 * place[s] if len(machine) > 1 else (0, 0.4)), f"↺ {read}", fontsize=7, ha="center", va="center")
    for s, point in enumerate(place):
        ax.text(*point, s, ha="center", va="center", bbox={"boxstyle": "circle", "fc": "none", "ec": blue if s else red})


def svg(machine):
    """The picture of a `Machine` as the text of an SVG file."""
    fig, file = Figure((4, 4)), io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        draw_machine(fig.add_subplot(), machine)
        fig.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
