"""Drawings of the chapter on the resource model."""

import numpy as np
import torch
from matplotlib.figure import Figure

from ..papers import resource
from ..papers.resource import Networks
from ..reading import BLUE, GREEN, GREY, INK, OCHRE, PALETTE, RED, figure


def _guides(ax, neurons):
    """The two laws on a plot of loss against neurons."""
    ax.loglog(neurons, 2.3e-4 / neurons, ":", color=INK, lw=1, label="N⁻¹")
    ax.loglog(neurons, resource.law(neurons), "--", color=INK, lw=1, label="κ (4/N)^(4/3)")


def _ticks(ax, x, y):
    """Plain numbers at these places of two logarithmic axes, and no others."""
    ax.minorticks_off()
    ax.set_xticks(x, [f"{v:g}" for v in x])
    ax.set_yticks(y, [f"{v:g}" for v in y])


def allocation(stopped: Networks, rest: Networks, cell: int, stairs: tuple) -> Figure:
    """One network of a cell before and after it settles: neurons, error, and its place on the staircase and the law.

    `stairs` are ascending task weights and what `resource.staircase` says of them.
    """
    fig, ((plane, error), (stair, law)) = figure(2, 2, height=5.6)
    weights, neurons, losses = rest.weights[:, 0], rest.neurons[..., 0], rest.losses[..., 0]
    for run, color, face in ((stopped, GREY, "none"), (rest, RED, RED)):
        mine = run.earning[cell, 0]
        plane.plot(run.w[cell, 0, mine, 0], run.b[cell, 0, mine], "o", color=color, mfc=face, ms=6)
    plane.set(xlim=(-1.9, 1.9), ylim=(-0.5, 0.5), xlabel="input weight w", ylabel="bias b")
    plane.set_title(f"{int(mine.sum())} neurons at rest")
    x = torch.linspace(-1, 1, 61, dtype=torch.float64)
    error.plot(x, 1e3 * rest.error(x[:, None])[cell, 0, 0], color=RED)
    size = rest.w[cell, 0, mine, 0].abs().mean()
    error.plot(x, 1e3 * resource.pair_error(size, x), "--", color=INK, lw=1)
    error.set(ylim=(-45, 45), xlabel="x", ylabel="1000 · error", title=f"loss {losses[cell, 0]:.1e}")
    stair.step(*stairs[:2], color=INK, lw=0.8, where="post")
    stair.loglog(weights, neurons.mean(1), ".", color=BLUE)
    stair.loglog(weights[cell], neurons[cell, 0], "o", color=RED)
    stair.set(xlim=(0.9, 1.1 * float(weights[-1])), ylim=(1.6, 70), xlabel="task weight α", ylabel="neurons N")
    _ticks(stair, [1, 10, 100], [2, 5, 10, 20, 50])
    _guides(law, np.array([2, 60]))
    law.loglog(neurons.mean(1), losses.mean(1), ".", color=BLUE)
    law.loglog(neurons[cell, 0], losses[cell, 0], "o", color=RED)
    law.set(xlim=(1.6, 70), ylim=(8e-7, 2e-4), xlabel="neurons N", ylabel="loss")
    _ticks(law, [2, 5, 10, 20, 50], [1e-6, 1e-5, 1e-4])
    law.legend()
    return fig


def law(weights: torch.Tensor, stopped: Networks, rest: Networks, stairs: tuple) -> Figure:
    """Left the staircase, right loss against neurons: published, where Adam stopped, and at rest."""
    fig, (left, right) = figure(1, 2, height=3.6)
    runs = (("where Adam stopped", stopped, OCHRE, "o"), ("at rest", rest, BLUE, "o"))
    _guides(right, np.array([2, 70]))
    for name, run, color, mark in runs:
        neurons, losses = run.neurons[..., 0], run.losses[..., 0]
        spread = neurons.aminmax(dim=1)
        left.fill_between(weights, spread.min, spread.max, color=color, alpha=0.2, lw=0)
        left.loglog(weights, neurons.mean(1), mark, ls="-", lw=1, color=color, ms=3.5, label=f"{name} (band: all seeds)")
        right.loglog(neurons.mean(1), losses.mean(1), mark, color=color, ms=3.5, label=name)
    left.step(*stairs[:2], color=INK, lw=0.8, where="post", label="best mirror pairs")
    left.loglog(*resource.STAIRCASE.T, "s", color=RED, mfc="none", label="published")
    right.loglog(*resource.SINGLE.T, "s", color=RED, mfc="none", label="published")
    left.set(xlabel="task weight α", ylabel="neurons N", xlim=(0.9, 1.2 * float(weights[-1])), ylim=(1.6, 120))
    right.set(xlabel="neurons N", ylabel="loss")
    left.legend(loc="upper left")
    right.legend(loc="lower left")
    return fig


def modules(errors: dict[str, torch.Tensor], x: torch.Tensor) -> Figure:
    """For each of four names the errors (modules, points) of a network's modules, and the matrix of their correlations."""
    fig, axes = figure(2, 4, height=4.4)
    for (name, e), curves, matrix in zip(errors.items(), axes[:, ::2].flat, axes[:, 1::2].flat, strict=True):
        curves.plot(x, e.T, color=BLUE, lw=1, alpha=0.7)
        curves.set(title=name, ylim=(-3.2, 3.2))
        picture = matrix.imshow(e @ e.T / len(x), cmap="PuOr_r", vmin=-1, vmax=1)
        matrix.set(title="correlation", xticks=[], yticks=[])
        matrix.grid(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("error of a module")
    for ax in axes[1]:
        ax.set_xlabel("x" if ax in axes[1, ::2] else "modules")
    fig.colorbar(picture, ax=axes, shrink=0.6, ticks=[-1, 0, 1])
    return fig


def targets(alone: dict[str, Networks]) -> Figure:
    """Left neurons against task weight, right loss against neurons, means over seeds, for targets trained alone."""
    fig, (left, right) = figure(1, 2, height=3.4)
    for (name, run), color, mark in zip(alone.items(), PALETTE, "os^Dvp", strict=False):
        neurons, losses = run.neurons[..., 0].mean(1), run.losses[..., 0].mean(1)
        left.loglog(run.weights[:, 0], neurons, mark, ls="-", lw=1, color=color, label=name)
        right.loglog(neurons, losses, mark, ls="-", lw=1, color=color, label=name)
    few = np.array([2, 60])
    right.loglog(few, 1e-3 / few, ":", color=INK, lw=1, label="N⁻¹")
    left.set(xlabel="task weight α", ylabel="neurons N")
    right.set(xlabel="neurons N", ylabel="loss")
    right.legend()
    return fig


def two_tasks(share: float, weights: list[float], counts: torch.Tensor, errors: torch.Tensor, stairs: tuple) -> Figure:
    """Neurons and losses (task weights, seeds, tasks) of two tasks at one share.

    `stairs` are ascending task weights and what `resource.staircase` says of them.
    """
    fig, (left, right) = figure(1, 2, height=3.4)
    ladder, neurons, falls, _ = stairs
    span = (0.8 * weights[0], 1.2 * weights[-1])
    for task, (part, color) in enumerate(((share, BLUE), (1 - share, RED))):
        label = f"task {task + 1}, weight {part:.2g} α"
        left.loglog(weights, counts[..., task].mean(1), "o", color=color, label=label)
        left.step(ladder / part, neurons, color=color, lw=0.9, where="post")
        right.loglog(weights, errors[..., task].mean(1), "o", color=color, label=label)
        right.loglog(ladder / part, falls, color=color, lw=0.9)
    left.set(xlim=span, ylim=(1.6, 50), xlabel="task weight α", ylabel="neurons")
    right.set(xlim=span, ylim=(2e-6, 3e-4), xlabel="task weight α", ylabel="loss of the task")
    _ticks(left, weights, [2, 5, 10, 20, 50])
    _ticks(right, weights, [1e-5, 1e-4])
    right.legend()
    return fig


def growth(shares: list[float], weights: list[float], counts: torch.Tensor, unlike: Networks) -> Figure:
    """N₁/N₂ against task weight, means and single networks: left of two parabolas at several shares, right of unlike tasks.

    `counts` are the neurons (shares, task weights, seeds, tasks) of the parabolas.
    """
    fig, (left, right) = figure(1, 2, height=3.4)
    sets = [(left, weights, counts[k], f"β = {share:g}", share) for k, share in enumerate(shares)]
    sets.append((right, unlike.weights.sum(1), unlike.neurons, "at rest", None))
    for (ax, at, neurons, label, share), color in zip(sets, PALETTE * 2, strict=False):
        single, mean = neurons[..., 0] / neurons[..., 1], neurons.mean(1)
        ax.loglog(at, single, ".", color=color, alpha=0.2, ms=4)
        ax.loglog(at, mean[..., 0] / mean[..., 1], "o-", color=color, lw=1, label=label)
        if share in resource.NEURON_RATIOS:
            ax.loglog(resource.RATIO_WEIGHTS, resource.NEURON_RATIOS[share], "s:", color=color, mfc="none", lw=0.8)
    left.plot([], [], "s:", color=INK, mfc="none", lw=0.8, label="published")
    first, second = unlike.neurons[0].mean(0)
    right.axhline(first / second, ls="--", color=INK, lw=1, label="homogeneous growth")
    left.set(xlabel="task weight α", ylabel="neurons N₁/N₂", ylim=(0.6, 40), title="x² and x²")
    right.set(xlabel="task weight α", ylim=(0.2, 1.2), title="x² and cos πx, β = 1/2")
    _ticks(left, resource.RATIO_WEIGHTS, [1, 2, 5, 10, 20])
    _ticks(right, unlike.weights.sum(1).tolist(), [0.2, 0.3, 0.5, 1])
    left.legend(ncols=2, loc="upper left")
    right.legend(loc="upper left")
    return fig


def ratios(odds: torch.Tensor, measured: list[torch.Tensor], shares: list[float]) -> Figure:
    """Ratios of neurons and of losses of two tasks against the ratio of their weights, measured and published."""
    fig, axes = figure(1, 2, height=3.4)
    tables = resource.NEURON_RATIOS, resource.LOSS_RATIOS
    names = "neurons N₁/N₂", "losses ℓ₂/ℓ₁"
    line = np.geomspace(1, 1.1 * float(odds.max()), 20)
    for ax, ours, table, power, name in zip(axes, measured, tables, (0.6, 0.8), names, strict=True):
        ax.loglog(line, line**power, "--", color=INK, lw=1, label=f"theory, power {power}")
        ax.loglog(odds, ours, "o", color=BLUE, label="at rest")
        known = [(s / (1 - s), np.exp(np.mean(np.log(table[s])))) for s in shares if s in table]
        ax.loglog(*zip(*known, strict=True), "s", color=RED, mfc="none", label="published")
        ax.set(xlabel="β/(1−β)", title=name)
        _ticks(ax, [1, 3, 9], [1, 2, 5])
    axes[0].legend()
    return fig


def chinchilla(p: float) -> Figure:
    """Left depth against width of the Chinchilla models with the line L ~ d^p; right the exponent of loss that follows."""
    fig, (left, right) = figure(1, 2, height=3.4)
    _, d, depth = resource.SHAPES.T
    center, error = resource.REFIT
    left.loglog(d, depth, "o", color=BLUE, alpha=0.6, label="Chinchilla models")
    span = np.array([450, 5500])
    left.loglog(span, float(depth.log().mean().exp()) * (span / float(d.log().mean().exp())) ** p, color=RED)
    left.plot([], [], color=RED, label=f"L ~ d^{p:.2f}")
    left.set(xlabel="width d", ylabel="depth L", ylim=(6, 90))
    _ticks(left, [500, 1000, 2000, 5000], [10, 20, 50])
    left.legend(loc="upper left")
    many = np.linspace(0, 1.2, 50)
    right.axhspan(center - 1.96 * error, center + 1.96 * error, color=GREEN, alpha=0.25, lw=0)
    right.text(0.02, center, "Chinchilla", va="center")
    for a, name, style in ((1, "a = 1, the paper", "-"), (4 / 3, "a = 4/3, this chapter", "--")):
        right.plot(many, a / (2 + many), style, color=INK, lw=1, label=name)
        right.plot(p, a / (2 + p), "o", color=RED)
    right.axvline(-float(resource.exponent(d, depth)), ymax=0.7, color=BLUE, lw=1, label="p of the Chinchilla models")
    right.set(xlabel="p in L ~ d^p", ylabel="exponent of loss in parameters", ylim=(0.25, 0.7))
    right.legend()
    return fig


def series(weights: list[float], row: dict[str, torch.Tensor]) -> Figure:
    """Two tasks in a row: loss against neurons in use, and the best correlation of a neuron with the inner variable."""
    fig, (left, right) = figure(1, 2, height=3.4)
    left.loglog(row["used"].flatten(), row["losses"].flatten(), "o", color=BLUE, label="this build")
    left.loglog(*resource.SERIES.T, "s", color=RED, mfc="none", label="published")
    left.loglog([10, 90], [2.6e-5, 2.6e-5 / 9], ":", color=INK, lw=1, label="N⁻¹")
    left.set(xlabel="neurons in use, all layers", ylabel="loss")
    left.legend()
    for k in range(4):
        right.semilogx(weights, row["correlations"][:, :, k].mean(1), "o-", color=PALETTE[k], label=f"hidden layer {k + 1}")
    right.set(xlabel="task weight α", ylabel="largest |correlation| of a neuron with g", ylim=(0, 1.05))
    right.legend(loc="lower right")
    return fig
