"""Drawings of the chapter on growing brains."""

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor

from ..papers import brains
from ..papers.brains import FAMILIES, TASKS
from ..reading import BLUE, GREEN, GREY, INK, OCHRE, PINK, RED, figure

CLUSTERS = (BLUE, RED, GREEN, PINK, OCHRE, "#8a63d2", "#5b8c00")  # one for each cluster,
SHAPES = "os^DvPX"  # and its shape
RECIPES = {"none": OCHRE, "L1": GREY, "BIMT": BLUE}
PAPER_ACCURACY = [1, 1, 1, 1, 1, 1, 0.905, 0.915, 0.87, 0.89, 0.88, 0.99, 1, 1, 1, 0.90, 1, 0.945, 1, 1]
PAPER_STRENGTH = [0, 0.05, 0.1, 0.3, 0.55, 0.95], [0.32, 0.13, 0.08, 0.027, 0.097, 0.029]  # distances, mean |W|
WIRES = 90  # recurrent wires drawn, the strongest


def _color(cluster):
    return CLUSTERS[cluster % len(CLUSTERS)]


def _unboxed(ax):
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    ax.grid(False)


def everywhere(found: brains.Portrait) -> Int[Tensor, " units"]:
    """The functional cluster of every unit of one network, -1 for the silent ones."""
    labels = torch.full((len(found.variance),), -1)
    labels[found.active] = found.labels
    return labels


def sheet(
    ax: Axes,
    place: Float[Tensor, "units 2"],
    W: Float[Tensor, "units units"],
    labels: Int[Tensor, " units"],
    hollow: int = -1,
) -> None:
    """The sheet: units in the colour and shape of their cluster, dots for silent ones, and the strongest wires between them.

    A wire between units of one cluster has its colour, other wires are grey; the units of cluster `hollow` are drawn open.
    """
    size = 0.5 * 72 * ax.get_figure().get_size_inches()[1] / len(place) ** 0.5  # points from one unit to the next, about
    ax.plot(*place.T, ".", color=INK, ms=1.5, alpha=0.4)
    pairs = brains.strongest(W, WIRES)
    inside = torch.where(labels[pairs[:, 0]] == labels[pairs[:, 1]], labels[pairs[:, 0]], -1)
    for k in inside.unique().tolist():
        ends = place[pairs[inside == k]]
        x, y = torch.cat([ends, torch.full((len(ends), 1, 2), torch.nan)], 1).flatten(0, 1).T
        ax.plot(x, y, color=_color(k) if k >= 0 else GREY, lw=1.3 if k >= 0 else 0.6, alpha=0.7)
    for k in labels[labels >= 0].unique().tolist():
        face = "none" if k == hollow else _color(k)
        ax.plot(*place[labels == k].T, SHAPES[k % len(SHAPES)], color=_color(k), mfc=face, ms=size, mew=0.8, ls="")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    _unboxed(ax)


def matrix(ax: Axes, W: Float[Tensor, "units units"], labels: Int[Tensor, " units"]) -> None:
    """Strength of the wires between active units, in the order of their clusters, which are marked along two edges."""
    active = (labels >= 0).nonzero().flatten()
    active = active[labels[active].argsort(stable=True)]
    S = (W.abs() + W.abs().T).fill_diagonal_(0)[active][:, active]
    ax.imshow(S.clamp(max=1).sqrt(), cmap="magma", vmin=0, vmax=1)
    for k in labels[active].unique().tolist():
        span = (labels[active] == k).nonzero().flatten()
        low, high = span[0] - 0.3, span[-1] + 0.3
        edge = [-0.025 * len(active)] * 2
        for x, y in (([low, high], edge), (edge, [low, high])):
            ax.plot(x, y, color=_color(k), lw=4, solid_capstyle="butt", clip_on=False)
        ax.plot([(low + high) / 2], [-0.07 * len(active)], SHAPES[k % len(SHAPES)], color=_color(k), ms=5, clip_on=False)
    _unboxed(ax)


def then(growth: brains.Growth, row: int, member: int, labels: Int[Tensor, " units"]) -> tuple[Tensor, Tensor]:
    """W of one network at a recorded time, and what the units in its slots become (`labels`: clusters by final slot)."""
    first = torch.empty_like(labels)
    first[growth.seats[-1][member]] = labels
    return growth.history[row].parts()[0][member], first[growth.seats[row][member]]


def growing(
    growth: brains.Growth, row: int, member: int, labels: Int[Tensor, " units"], place: brains.Sheet, name: str
) -> Figure:
    """Left: the sheet of one network at a recorded time, units coloured by what they become. Right: its wires, ordered."""
    fig, (left, right) = figure(1, 2, width=7.2, height=3.6)
    W, labels = then(growth, row, member, labels)
    sheet(left, place.place, W, labels)
    left.set_title(f"{name} after {growth.steps[row]} updates")
    matrix(right, W, labels)
    right.set_title("wires between units, by cluster", pad=16)
    return fig


def start_and_end(growth: brains.Growth, chosen: dict[str, tuple[int, Tensor]], place: brains.Sheet) -> Figure:
    """Sheets of networks at the first and the last record, side by side; `chosen` holds member and final clusters."""
    fig, axes = figure(1, 2 * len(chosen), width=7.6, height=2.3)
    for k, (name, (member, labels)) in enumerate(chosen.items()):
        for ax, row, when in zip(axes[2 * k : 2 * k + 2], (0, -1), ("start", "end"), strict=True):
            sheet(ax, place.place, *then(growth, row, member, labels))
            ax.set_title(f"{name}: {when}", fontsize=9)
    return fig


def bars(accuracy: dict[str, Float[Tensor, " tasks"]], limit: Float[Tensor, " tasks"]) -> Figure:
    """Accuracy of two kinds of networks on the twenty tasks, with the ideal observer's and the paper's."""
    fig, ax = figure(height=3.4)
    x = np.arange(len(TASKS))
    for (name, values), shift, colour in zip(accuracy.items(), (-0.2, 0.2), (BLUE, GREY), strict=True):
        ax.bar(x + shift, values, 0.4, color=RECIPES.get(name, colour), label=name)
    ax.plot(x, PAPER_ACCURACY, "_", color=RED, ms=13, mew=2, label="paper, BIMT (longer trials, more noise)")
    ends = np.repeat(x, 3) + np.tile([-0.45, 0.45, np.nan], len(x))
    ax.plot(ends, np.repeat(limit, 3), color=INK, lw=1, label="ideal observer here")
    ax.set(ylim=(0.6, 1.12), ylabel="accuracy (mean over seeds)")
    ax.set_xticks(x, TASKS, rotation=60, ha="right", fontsize=8)
    ax.legend(ncols=4, loc="upper left", fontsize=7.5)
    return fig


def profiles(found: brains.Portrait) -> Figure:
    """Task variances of the active units of one network, sorted by cluster."""
    order = torch.argsort(found.labels * 100 + found.features.argmax(1), stable=True)
    fig, ax = figure(height=3.6)
    image = ax.imshow(found.features[order].T, cmap="magma", aspect="auto", vmin=0, vmax=1)
    for k in found.labels.unique().tolist():
        spots = (found.labels[order] == k).nonzero().flatten()
        span = [spots[0] - 0.4, spots[-1] + 0.4]
        ax.plot(span, [-1.2, -1.2], color=_color(k), lw=5, solid_capstyle="butt", clip_on=False)
        ax.plot([spots.float().mean()], [-2.3], SHAPES[k % len(SHAPES)], color=_color(k), ms=6, clip_on=False)
    ax.set_yticks(range(len(TASKS)), TASKS, fontsize=7.5)
    ax.set(xlabel="active units, sorted by cluster", ylim=(len(TASKS) - 0.5, -2))
    ax.grid(False)
    fig.colorbar(image, label="task variance / its maximum")
    return fig


def shuffled(scores: dict[str, dict[str, brains.Score]]) -> Figure:
    """Histograms of measures of shuffled clusters, and the measured ones; `scores` is by measure (a row), then by recipe."""
    recipes = next(iter(scores.values()))
    fig, axes = figure(len(scores), len(recipes), height=2.2 * len(scores), sharey="row", squeeze=False)
    for row, (measure, by_recipe) in zip(axes, scores.items(), strict=True):
        ratios = {name: score.shuffles / score.shuffles.mean() for name, score in by_recipe.items()}
        ends = [*torch.cat(list(ratios.values())).aminmax(), *(score.ratio for score in by_recipe.values())]
        span = float(min(ends)) - 0.05, float(max(ends)) + 0.05
        for ax, (name, score) in zip(row, by_recipe.items(), strict=True):
            height, edges = np.histogram(ratios[name], bins=40, range=span, density=True)
            ax.stairs(height, edges, color=GREY, fill=True, alpha=0.6)
            ax.axvline(score.ratio, color=RED)
            ax.set(xlabel=f"{measure} / mean of shuffles", xlim=span)
        row[0].set_ylabel("density of shuffles")
    for ax, name in zip(axes[0], recipes, strict=True):
        ax.set_title(name)
    return fig


def lesion(drops: Tensor, chance: Tensor, member: tuple[Tensor, Tensor, Tensor], cluster: int, title: str) -> Figure:
    """The sheet without one cluster, and what it costs (`drops`, 20) beside random sets as large (`chance`, 20).

    `member` holds the places of the slots, W and the clusters of the units in the slots.
    """
    fig, (left, right) = figure(1, 2, width=7.2, height=3.9, gridspec_kw={"width_ratios": [1, 1.25]})
    sheet(left, *member, hollow=cluster)
    left.set_title(title)
    colors = np.repeat([BLUE, OCHRE, GREEN, PINK], [len(tasks) for tasks in FAMILIES.values()])
    right.barh(TASKS, drops, color=colors)
    right.plot(chance, TASKS, "o", mfc="none", color=INK, ms=4, label="random sets")
    right.set(xlabel="loss of accuracy", xlim=(-0.1, 1.05), ylim=(len(TASKS) - 0.4, -0.6))
    right.tick_params(axis="y", labelsize=7)
    right.legend(loc="upper right")
    return fig


def courses(steps: list[int], course: dict[str, dict[str, Float[Tensor, "seeds records"]]]) -> Figure:
    """Measures in time, a panel each, with thin lines for seeds; `course` is by measure, then by recipe."""
    fig, axes = figure(1, len(course))
    for ax, (measure, by_recipe) in zip(axes, course.items(), strict=True):
        for name, values in by_recipe.items():
            ax.plot(steps, values.T, color=RECIPES[name], lw=0.6, alpha=0.6)
            ax.plot(steps, values.mean(0), color=RECIPES[name], lw=2.2, label=name)
        ax.set_xscale("symlog", linthresh=10)
        ax.set(xlabel="updates", title=measure, xticks=[0, 10, 100, 1000], xticklabels=["0", "10", "100", "1000"])
    axes[0].legend()
    return fig


def dearer(
    member: tuple[Tensor, Tensor, Tensor],
    title: str,
    curves: dict[str, tuple[Tensor, Tensor]],
    spot: tuple[Tensor, Tensor],
    floor: float,
) -> Figure:
    """Left: the sheet of one network (`member`: places, W, clusters). Right: wiring and error of all, a ring about `spot`.

    `curves` holds wiring and error by recipe, (seeds, prices): dots for networks, a line through the means of logarithms.
    """
    fig, (left, right) = figure(1, 2, width=7.2, height=3.5)
    sheet(left, *member)
    left.set_title(title)
    for name, (wiring, error) in curves.items():
        right.loglog(wiring.flatten(), error.flatten(), ".", color=RECIPES[name], alpha=0.6)
        means = [values.log().mean(0).exp().reshape(-1) for values in (wiring, error)]
        right.loglog(*means, "-" if len(means[0]) > 1 else "s", color=RECIPES[name], label=name)
    right.loglog(*spot, "o", ms=11, mfc="none", color=RED)
    right.axhline(floor, color=INK, lw=0.8, ls=":", label="ideal observer")
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set(xlabel="recurrent wiring (cells)", ylabel="error")
    right.legend(loc="upper right", fontsize=7.5)
    return fig


def relearning(steps: list[int], away: int, errors: dict[str, Float[Tensor, "seeds records"]]) -> Figure:
    """Error on the decision tasks while others are learnt, for `away` updates, and after the return."""
    fig, ax = figure()
    for name, values in errors.items():
        ax.plot(steps, values.T, color=RECIPES[name], lw=0.6, alpha=0.5)
        ax.plot(steps, values.mean(0), color=RECIPES[name], lw=2.2, label=name)
    ax.axvline(away, color=INK, lw=0.9, ls=":")
    ax.text(away, ax.get_ylim()[1], " return", va="top")
    ax.set(xlabel="further updates", ylabel="error on the ten decision tasks")
    ax.legend()
    return fig


def cliff_and_lengths(
    importance: dict[str, Float[Tensor, "seeds units"]], lengths: Tensor, strength: dict[str, Float[Tensor, "seeds lengths"]]
) -> Figure:
    """Left: importance of units by rank. Right: mean strength of recurrent wires by length, with the paper's."""
    fig, (left, right) = figure(1, 2)
    for name, values in importance.items():
        left.semilogy(values.T, color=RECIPES[name], lw=1, label=[name] + [None] * (len(values) - 1))
        right.semilogy(lengths, strength[name].mean(0), "o-", color=RECIPES[name], ms=3, label=name)
    right.plot(*PAPER_STRENGTH, "x", color=RED, label="paper, BIMT")
    left.set(xlabel="rank of the unit", title="importance (variance over all tasks)")
    right.set(xlabel="length of the wire", title="mean strength of recurrent wires")
    left.legend()
    right.legend()
    return fig


def seated(panels: dict[str, tuple[Tensor, Tensor, Tensor]], **size: float) -> Figure:
    """Sheets side by side; `panels` holds places, W and clusters by slot, `size` the width or height if not the usual."""
    fig, axes = figure(1, len(panels), **{"height": 2.9, **size})
    for ax, (title, body) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        sheet(ax, *body)
        ax.set_title(title, fontsize=9)
    return fig


def reseating(costs: Float[Tensor, " records"], at: int, aim: float, member: tuple[Tensor, Tensor, Tensor]) -> Figure:
    """Left: an L1 network after `at` exchanges (`member`: places, W, clusters). Right: its wire, and BIMT's (`aim`)."""
    fig, (left, right) = figure(1, 2, width=7.2, height=3.5)
    sheet(left, *member)
    left.set_title(f"L1, {at} exchanges")
    right.plot(costs, color=GREY, label="this network")
    right.plot([at], [costs[at]], "o", color=RED)
    right.axhline(aim, color=BLUE, lw=1, ls=":", label="BIMT (mean)")
    right.set(xlabel="exchanges", ylabel="wire, Σ |w| d", ylim=(0, 1.1 * float(costs[0])))
    right.legend(loc="lower left")
    return fig
