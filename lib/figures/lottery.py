"""Drawings of the chapter on lottery tickets."""

import numpy as np
import torch
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..papers import lottery
from ..reading import BLUE, GREEN, GREY, INK, OCHRE, PINK, RED, figure


def widths_axis(ax, widths, label="hidden neurons N"):
    """Label the logarithmic x axis of `ax` with the `widths` themselves."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(widths, [str(n) for n in widths])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(label)


def errors(chart: lottery.Chart, cells: dict[str, tuple[int, int, int]], width: int) -> Figure:
    """The errors of the networks of one width and their average, a panel for each of the named cells."""
    fig, axes = figure(1, len(cells), height=2.8)
    for ax, (name, cell) in zip(axes, cells.items(), strict=True):
        curves = chart.errors[1][cell][chart.widths.index(width)]
        ax.plot(chart.x, curves.T, color=BLUE, alpha=0.45, lw=1)
        ax.plot(chart.x, curves.mean(0), color=RED, lw=2.2)
        reach = 1.1 * float(curves.abs().max())
        ax.set(xlabel="x", title=name, ylim=(-reach, reach))
    axes[0].set_ylabel("error f(x) − x²")
    return fig


def errors_and_law(chart: lottery.Chart, cell: tuple[int, int, int], width: int) -> Figure:
    """Left: the errors of the networks of one cell and width, and their mean. Right: loss against width, with the mean's."""
    fig, (left, right) = figure(1, 2)
    errors, k = chart.errors[1][cell], chart.widths.index(width)
    left.plot(chart.x, errors[k].T, color=BLUE, alpha=0.45, lw=1)
    left.plot(chart.x, errors[k].mean(0), color=RED, lw=2.2)
    left.plot([], [], color=BLUE, label=f"{errors.shape[1]} networks, N = {width}")
    left.plot([], [], color=RED, label="their average")
    reach = 1.35 * float(errors[k].abs().max())
    left.set(xlabel="x", ylabel="error f(x) − x²", ylim=(-reach, reach))
    left.legend(loc="upper center", ncols=2)
    one = lottery.losses(errors, chart.weight).mean(1)
    mean = lottery.losses(errors.mean(1), chart.weight)
    right.loglog(chart.widths, one / errors.shape[1], color=INK, lw=0.9, ls=":", label=f"1/{errors.shape[1]} of it")
    right.loglog(chart.widths, one, "o-", color=BLUE, label="one network")
    right.loglog(chart.widths, mean, "s-", color=RED, label=f"average of {errors.shape[1]}")
    right.axvline(width, color=GREY, lw=0.8)
    right.set(ylabel="mean squared error")
    widths_axis(right, chart.widths)
    right.legend(loc="lower left")
    return fig


def maps(chart: lottery.Chart, panels: dict[str, torch.Tensor], title: str) -> Figure:
    """One map (starts × rates) a panel: `panels` holds an exponent first, then shares between 0 and 1."""
    fig, axes = figure(1, len(panels), height=3.0, sharey=True)
    for k, (ax, (name, values)) in enumerate(zip(axes, panels.items(), strict=True)):
        norm = TwoSlopeNorm(1, -1, 3) if k == 0 else TwoSlopeNorm(0.5, 0, 1)
        ax.imshow(values, cmap="PuOr_r", norm=norm, aspect="auto")
        for i, j in np.ndindex(*values.shape):
            dark = abs(float(norm(values[i, j])) - 0.5) > 0.3
            ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color="white" if dark else "black")
        ax.set(xticks=range(len(chart.rates)), xticklabels=[f"{r:g}" for r in chart.rates], title=name)
        ax.grid(False)
    axes[0].set_yticks(range(len(chart.starts)), [f"{s:g}" if s else "PyTorch" for s in chart.starts])
    axes[0].set_ylabel("start")
    axes[len(axes) // 2].set_xlabel("learning rate")
    fig.suptitle(title, fontsize=10, x=0.01, ha="left")
    return fig


def inside(tickets: lottery.Tickets, loss: float, x: torch.Tensor) -> Figure:
    """The errors of the tickets in one network, their correlations, and the loss when the best k are kept."""
    fig, (left, middle, right) = figure(1, 3, height=2.9)
    left.plot(x, tickets.errors.T, color=BLUE, alpha=0.4, lw=1)
    left.plot(x, (tickets.part[:, None] * tickets.errors).sum(0) / tickets.part.sum(), color=RED, lw=2.2)
    reach = 3 * float(tickets.products.diagonal().median().sqrt())
    left.set(xlabel="x", title="errors, and their mean", ylim=(-reach, reach))
    order = tickets.products.diagonal().argsort()
    middle.imshow(tickets.correlation[order][:, order], cmap="PuOr_r", vmin=-1, vmax=1)
    middle.set(title="correlations (−1 to 1)", xlabel="ticket, best first")
    middle.grid(False)
    k = np.arange(1, len(tickets.part) + 1)
    independent = tickets.independent()
    right.loglog(k, independent, color=INK, lw=0.9, ls=":", label="if independent")
    right.loglog(k, tickets.kept(), color=BLUE, label="measured")
    right.loglog([k[-1]], [loss], "o", color=RED, label="the network")
    right.set(xlabel="best k kept", title="loss of their mean")
    right.legend()
    return fig


def laws(runs: dict[str, lottery.Sweep], dimensions: list[int]) -> Figure:
    """Loss against parameters for ReLU networks, one series a dimension, each with its line of slope 4/d."""
    fig, ax = figure(height=3.4)
    for (label, run), d, color, marker in zip(runs.items(), dimensions, (BLUE, OCHRE, GREEN), "o^s", strict=True):
        n, medians = run.sizes.double(), run.losses.median(1).values
        ax.fill_between(n, *run.losses.quantile(torch.tensor([0.25, 0.75]).double(), 1), color=color, alpha=0.2, lw=0)
        ax.loglog(n, medians, marker, color=color, label=label)
        line = medians.log().mean().exp() * (n / n.log().mean().exp()) ** (-4 / d)
        ax.loglog(n, line, color=color, ls="--", lw=1)
    ax.plot([], [], color=GREY, ls="--", lw=1, label="slope −4/d")
    ax.set(xlabel="parameters", ylabel="median squared error (band: quartiles)")
    ax.legend()
    return fig


def histograms(silu: torch.Tensor, mirrored: torch.Tensor, relu: torch.Tensor) -> Figure:
    """Losses of many networks of two neurons: SiLU, with the symmetric ones (`mirrored`) apart, and ReLU."""
    fig, (left, right) = figure(1, 2, sharey=True)
    bins = np.arange(-5, 0.6, 0.1)
    parts = [silu[mirrored].log10(), silu[~mirrored].log10()]
    left.hist(parts, bins, stacked=True, color=[BLUE, GREY], label=["symmetric to 10 %", "other"])
    left.set(xlabel="log₁₀ of the loss", ylabel="networks", title="SiLU, N = 2", yscale="log")
    left.legend(loc="upper left")
    right.hist(relu.log10(), bins, color=OCHRE)
    right.set(xlabel="log₁₀ of the loss", title="ReLU, N = 2")
    return fig


def neurons(w: torch.Tensor, b: torch.Tensor, v: torch.Tensor) -> Figure:
    """The neurons of one network in the plane of w and b, coloured by the sign of v."""
    fig, ax = figure(height=3.2)
    for use, color, label in ((v > 0, BLUE, "v > 0"), (v <= 0, RED, "v < 0")):
        ax.plot(w[use], b[use], ".", ms=3, color=color, label=label, rasterized=True)
    ax.set(xlabel="w", ylabel="b", title=f"{len(w)} neurons of one network")
    ax.legend()
    return fig


def floors(series: dict[str, tuple[list[int], torch.Tensor]]) -> Figure:
    """Median losses against width, one series an optimiser, with quartiles."""
    fig, ax = figure()
    for (label, (widths, losses)), color, marker in zip(series.items(), (BLUE, PINK, GREEN), "osv", strict=False):
        ax.fill_between(
            widths, *losses.double().quantile(torch.tensor([0.25, 0.75]).double(), 1), color=color, alpha=0.2, lw=0
        )
        ax.loglog(widths, losses.median(1).values, marker + "-", color=color, label=label)
    ax.set(ylabel="median squared error")
    widths_axis(ax, sorted({n for widths, _ in series.values() for n in widths}))
    ax.legend()
    return fig
