"""Drawings of the chapter on GenEFT."""

import math

import numpy as np
import torch
from matplotlib.colors import to_rgba

from lib.papers import geneft
from lib.reading import BLUE, GREEN, GREY, INK, OCHRE, PINK, RED, figure

CLASSES = ((BLUE, "o"), (OCHRE, "s"), (PINK, "^"))  # one for each class of "equal modulo 3"
LETTERS = "GKMC"  # the phases, in the order of `geneft.PHASES`


def scatter(ax, points):
    """The thirty points (30, 2) of one network, coloured by class."""
    for k, (color, marker) in enumerate(CLASSES):
        ax.plot(*points[k::3].T, marker, color=color, ms=4.5)
    ax.set(xticks=[], yticks=[])


def knob(i, log_ratio, spread, run, generalizes, met):
    """Theory, comparison and one network at the rate ratio with index `i`.

    Args:
        i: which of the ratios.
        log_ratio: log10 of decoder rate over encoder rate, (R,).
        spread: the theory's one free number, s_a/s_c.
        run: a `geneft.Training` of R * S networks, seeds running fastest.
        generalizes, met: for each ratio the shares of networks that generalize and of pairs that met, (R,).
    """
    fig, (left, middle, right) = figure(1, 3, width=8.4, height=3.0)
    cloud_a, cloud_c = np.random.default_rng(0).normal(size=(2, 400))
    slope, reach = spread / (2 * 10 ** log_ratio[i].item()) ** 0.5, np.linspace(-3, 3, 61)
    collide = slope * np.abs(cloud_a) > np.abs(cloud_c)
    left.plot(cloud_a[collide], cloud_c[collide], ".", color=BLUE, ms=3, rasterized=True)
    left.plot(cloud_a[~collide], cloud_c[~collide], "x", color=RED, ms=2.5, rasterized=True)
    for sign in (-1, 1):
        left.plot(reach, sign * slope * reach, color=INK, lw=1)
    left.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="decoder slope a", ylabel="half distance c", title="theory: who will meet")
    fine = np.linspace(-0.5, 4, 60)
    chance = geneft.collision_probability(10**fine, spread=spread)
    middle.plot(fine, chance, color=INK, label="theory")
    middle.plot(log_ratio, met, "s-", color=GREY, ms=3, lw=0.8, label="pairs that met")
    middle.plot(log_ratio, generalizes, "o-", color=BLUE, ms=3, lw=0.8, label="networks that generalize")
    middle.axvline(log_ratio[i], color=RED, lw=1)
    middle.set(xlabel="log₁₀ (decoder rate / encoder rate)", ylabel="share", ylim=(0, 1.04), title="theory and networks")
    middle.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=1, fontsize=7.5)
    network = i * (len(run.unseen) // len(log_ratio))
    scatter(right, run.problem.points[network].cpu())
    right.set(title="one network's points", xlabel=f"right on {run.unseen[network]:.0%} of unseen pairs")
    return fig


def twins(start, log_ratio, run, chosen):
    """The points of one seed at the start and, for the ratios with the indices `chosen`, after training."""
    fig, axes = figure(1, 1 + len(chosen), width=8.4, height=2.5)
    scatter(axes[0], start)
    axes[0].set(title="start", xlabel="both twins")
    for ax, i in zip(axes[1:], chosen, strict=True):
        network = i * (len(run.unseen) // len(log_ratio))
        scatter(ax, run.problem.points[network].cpu())
        ax.set(title=f"ratio {10 ** log_ratio[i]:.4g}", xlabel=f"right on {run.unseen[network]:.0%} of unseen pairs")
    return fig


def portrait(slopes, counted):
    """Paths of two repons, and the chance of a collision: counted over random starts at some `slopes`, and by the law."""
    fig, (left, right) = figure(1, 2, height=3.2)
    for a0 in (0.4, 1.0, 1.8):
        for c0 in (0.3, 1.0, 1.9):
            a, c = geneft.closed_form(a0, c0, 0.5, 1.0, np.r_[0, np.geomspace(0.01, 300, 60)])
            color = BLUE if a0 > c0 else RED
            left.plot(a, c, color=color, lw=1.2)
            left.plot([a0], [c0], "o", color=color, ms=3)
    left.plot([0, 2], [0, 2], color=INK, lw=1, ls="--")
    left.set(xlabel="decoder slope a", ylabel="half distance c", title="two repons", xlim=(0, 2), ylim=(0, 2))
    fine = np.geomspace(0.15, 6, 60)
    right.semilogx(fine, geneft.collision_probability(1 / (2 * fine**2)), color=INK, lw=1, label="arctan law")
    right.semilogx(slopes, counted, "o", color=BLUE, label="random starts")
    right.set_xticks(slopes, [f"{slope:g}" for slope in slopes])
    right.minorticks_off()
    right.set(xlabel="√(η_x / 2η_A)", ylabel="share that meets", title="how often they meet")
    right.legend()
    return fig


def phase_diagram(encoder, decoder, phase, best):
    """A letter for each network in the plane of the log rates; colour is the mean of the best test accuracy.

    Args:
        encoder, decoder: log10 of the rates, lists of E and D.
        phase: (E, D, seeds) int64. best: (E, D, seeds).
    """
    fig, ax = figure(width=7.2, height=3.8)
    half = (encoder[1] - encoder[0]) / 2
    extent = [encoder[0] - half, encoder[-1] + half, decoder[0] - half, decoder[-1] + half]
    image = ax.imshow(best.mean(2).T, origin="lower", extent=extent, vmin=0.5, vmax=1, aspect="auto", rasterized=True)
    ax.grid(False)
    side = math.ceil(phase.shape[2] ** 0.5)  # a block of letters, which fits a cell on a phone, too
    for i, e in enumerate(encoder):
        for j, d in enumerate(decoder):
            letters = "".join(LETTERS[p] for p in phase[i, j])
            block = "\n".join(letters[k : k + side] for k in range(0, len(letters), side))
            color = "black" if best[i, j].mean() > 0.8 else "white"
            ax.text(e, d, block, ha="center", va="center", fontsize=7, color=color)
    ax.set(xlabel="log₁₀ encoder rate", ylabel="log₁₀ decoder rate")
    fig.colorbar(image, ax=ax, label="best test accuracy")
    return fig


def transition(log_ratio, share, spread, place):
    """Share of networks that generalize in each cell of the phase diagram against the ratio; theory's curve and the step."""
    fig, ax = figure(height=3.2)
    jitter = 0.03 * torch.randn(len(log_ratio), generator=torch.Generator().manual_seed(0))
    fine = np.linspace(log_ratio.min() - 0.2, log_ratio.max() + 0.2, 200)
    ax.plot(log_ratio + jitter, share, "o", color=BLUE, alpha=0.6, label="networks that generalize, one dot a cell")
    ax.plot(fine, geneft.collision_probability(10**fine, spread=spread), color=INK, label="theory, one number fitted")
    ax.step(fine, fine <= place, where="mid", color=OCHRE, ls="--", label="a step, one number fitted")
    ax.set(xlabel="log₁₀ (decoder rate / encoder rate)", ylabel="share", ylim=(-0.05, 1.3))
    ax.legend(loc="upper right", ncols=1, fontsize=8)
    return fig


def statics(fractions, network, exact):
    """Accuracy on all pairs against the fraction seen: network and exact inference (F, 4, seeds), and the paper's bound."""
    fig, axes = figure(2, 2, height=5.2, sharex=True, sharey=True)
    smooth = np.linspace(0.01, fractions[-1], 80)
    for k, (ax, name) in enumerate(zip(axes.flat, geneft.RELATIONS, strict=True)):
        net, best = network[:, k].mean(1), exact[:, k].mean(1)
        ax.fill_between(fractions, net, best, color=OCHRE, alpha=0.25, lw=0, label="induction gap")
        ax.plot(fractions, best, "s-", color=GREEN, label="exact inference")
        ax.plot(smooth, geneft.bound(name, smooth), color=INK, ls="--", lw=1, label="the paper's estimate")
        ax.plot(fractions, network[:, k], ".", color=BLUE, alpha=0.5)
        ax.plot(fractions, net, "o-", color=BLUE, label="network")
        ax.set(title=name, ylim=(0.45, 1.02))
    for ax in axes[1]:
        ax.set_xlabel("fraction of the pairs seen")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy on all pairs")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def tables(says):
    """Four tables (4, 30, 30) bool as a network fills them in: blue for yes, empty for no, orange for wrong."""
    fig, axes = figure(1, 4, width=8.4, height=2.4)
    paint = torch.tensor([to_rgba(BLUE, 0), to_rgba(BLUE), to_rgba(RED)])
    for ax, name, answers in zip(axes, geneft.RELATIONS, says, strict=True):
        truth, period = geneft.relation(name), {"equal mod 3": 3, "equal mod 5": 5}.get(name, 1)
        order = torch.arange(len(truth)).reshape(-1, period).T.flatten()
        picture = torch.where(answers != truth, 2, answers.long())[order][:, order]
        ax.imshow(paint[picture], interpolation="nearest")
        ax.grid(False)
        ax.set(title=name, xticks=[], yticks=[], xlabel=f"{(answers == truth).double().mean():.0%} right")
    return fig


def gap(fractions, names, accuracies, exact):
    """Accuracy on unseen pairs for each way of reading two points, a dict of (F, 2, seeds); exact inference (F, 2)."""
    fig, axes = figure(1, 2, height=3.4, sharey=True)
    for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
        for (mode, found), color, marker in zip(accuracies.items(), (BLUE, PINK, RED), "ovD", strict=True):
            ax.plot(fractions, found[:, k].mean(1), marker + "-", color=color, label=mode)
        ax.plot(fractions, exact[:, k], "s--", color=GREEN, label="exact inference")
        ax.axhline(0.5, color=INK, lw=0.8, ls=":")
        ax.set(title=name, xlabel="fraction of the pairs seen", ylim=(0.3, 1.02))
    axes[0].set_ylabel("accuracy on unseen pairs")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def depths(layers, found):
    """Accuracy on unseen pairs against the number of hidden layers, (D, seeds)."""
    fig, ax = figure(height=3.0)
    ax.plot(layers, found, ".", color=GREY, alpha=0.6)
    ax.plot(layers, found.mean(1), "o-", color=BLUE, label="mean")
    ax.axhline(2 / 3, color=INK, lw=0.8, ls=":", label="always answering no")
    ax.set(xlabel="hidden layers of the decoder, 10 units each", ylabel="accuracy on unseen pairs", ylim=(0.45, 1.02))
    ax.legend()
    return fig


def conserved(followed):
    """How the parts of Q and Q itself change: a dict of (steps (T,), change (T, 3))."""
    fig, axes = figure(1, len(followed), width=8.4, height=2.8, sharey=True)
    for ax, (name, (steps, change)) in zip(axes, followed.items(), strict=True):
        lines = zip(("decoder part", "points part", "Q"), (OCHRE, PINK, BLUE), ("-", "--", "-"), strict=True)
        for part, (label, color, style) in enumerate(lines):
            ax.semilogy(steps[1:], change[1:, part], style, color=color, label=label)
        ax.set(title=name, xlabel="updates")
    axes[0].set_ylabel("change / first size of Q")
    axes[0].legend(loc="lower right", fontsize=7.5)
    return fig


def dimensions(dims, outputs, ratios, meeting):
    """Chance of a collision: by the law, and counted at some `ratios` for each (d, k), a dict of arrays."""
    fig, axes = figure(1, len(dims), width=8.4, height=2.6, sharey=True)
    fine = np.geomspace(0.03, 30, 50)
    for ax, d in zip(axes, dims, strict=True):
        for k, color in zip(outputs, (BLUE, OCHRE, PINK, GREEN), strict=False):
            ax.semilogx(fine, geneft.collision_probability(fine, d, k), color=color, label=f"{k}")
            ax.semilogx(ratios, meeting[d, k], "o", color=color)
        ax.set(title=f"{d} dimension{'s' * (d > 1)}", xlabel="η_A / η_x", ylim=(-0.03, 1.03))
    axes[0].set_ylabel("chance of a collision")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, title="outputs of the decoder")
    return fig
