"""Figures of the chapter on hypernetworks: networks as graphs and as matrices, phases, and how they develop."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lib.papers.hypernetworks.networks import layout, plums
from lib.papers.hypernetworks.phases import CONVEXITY, DOUBLE, LABELS, MINUS, NONE, PLUS, Spins
from lib.papers.hypernetworks.training import Survey
from lib.reading import BLUE, GREEN, GREY, INK, OCHRE, PINK, RED, figure

COLOURS = {NONE: GREY, CONVEXITY: GREEN, PLUS: RED, MINUS: PINK, DOUBLE: BLUE}  # of the labels
ORDER = (DOUBLE, PLUS, MINUS, CONVEXITY, NONE)


def sketch(ax: Axes, W: torch.Tensor, w: torch.Tensor, title: str = "") -> None:
    """A network, W (h, n) and w (h,), as a force-directed graph.

    Inputs are green, hidden neurons grey, the output dark; weights red (> 0) and blue (< 0), those below a tenth left out.
    """
    h, n = W.shape
    places = layout(W, w).numpy()
    first, last = W / W.abs().max(), w / w.abs().max()
    lines = [(first[j, i].item(), n + j, i) for j in range(h) for i in range(n) if abs(first[j, i]) > 0.1]
    lines += [(last[j].item(), n + j, n + h) for j in range(h) if abs(last[j]) > 0.1]
    for sign, colour in ((1, RED), (-1, BLUE)):
        chosen = [line for line in lines if line[0] * sign > 0]
        widths = [2.2 * abs(weight) for weight, _, _ in chosen]
        ends = [places[[a, b]] for _, a, b in chosen]
        ax.add_collection(LineCollection(ends, colors=colour, alpha=0.75, linewidths=widths))
    for rows, colour, dot in ((places[n:-1], GREY, 12), (places[:n], GREEN, 26), (places[-1:], INK, 40)):
        ax.scatter(*rows.T, s=dot, color=colour, zorder=3, linewidths=0)
    ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", title=title)
    ax.set_axis_off()


def matrix(ax: Axes, W: torch.Tensor, title: str = "") -> None:
    """Weights (h, n) as a picture on a scale of its own: red > 0, blue < 0."""
    reach = W.abs().max()
    ax.imshow(W, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    ax.set(title=title, xlabel="input")
    ax.grid(False)


def made(survey: Survey, member: int, b: int) -> Figure:
    """What one hypernetwork makes at the price with index `b`: the graph, and the weights for two draws of the noise."""
    fig, axes = figure(1, 3, height=3.7, width_ratios=[1.9, 1, 1])
    nats, name = survey.nats[member, b], LABELS[survey.labels[member, b]]
    sketch(axes[0], survey.W[0, member, b], survey.w[0, member, b])
    axes[0].set_title(f"β = 10^{survey.beta[b].log10():.2g}, {nats:.0f} nats: {name}", color=INK)
    for draw in (0, 1):
        eps = survey.eps[draw, member, b]
        matrix(axes[1 + draw], survey.W[draw, member, b], f"draw {draw + 1}: ε = {eps:.2g}")
    axes[1].set(ylabel="hidden neuron")
    axes[2].set(yticklabels=[])
    return fig


def planes(survey: Survey) -> Figure:
    """All networks of a survey by their order parameters, coloured by label."""
    fig, (left, right) = figure(1, 2, height=3.4)
    found, labels = survey.orders, survey.labels
    for k in ORDER:
        mask, style = labels == k, {"ms": 3, "alpha": 0.6, "color": COLOURS[k], "rasterized": True}
        ordered = mask & (found.redraw <= 0.5)
        left.plot(found.sign[ordered], found.doubled[ordered], "o", **style)
        right.plot(found.redraw[mask], survey.eps[0][mask], "o", label=LABELS[k], **style)
    left.axhline(0.5, color=INK, lw=0.8, ls=":")
    left.set(xlabel="sign", ylabel="double-sidedness", xlim=(-1.05, 1.05), ylim=(-0.03, 1.03), title="redraw at most ½")
    right.axvline(0.5, color=INK, lw=0.8, ls=":")
    right.plot([-0.05, 0.5], [0.5, 0.5], color=INK, lw=0.8, ls=":")
    right.set(xlabel="redraw", ylabel="error ε", yscale="log", title="all networks")
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def background(lambdas: torch.Tensor, curves: dict[int, torch.Tensor], background: float) -> Figure:
    """Eight plums with a background, and errors by number of inputs, each curve (L,) over the backgrounds `lambdas`."""
    fig, (left, right) = figure(1, 2, height=3.4, width_ratios=[1.2, 1])
    sketch(left, *plums(8, background), f"8 plums, λ = {background:g}")
    for (n, curve), colour in zip(curves.items(), (GREY, RED, OCHRE, BLUE), strict=True):
        right.semilogy(lambdas, curve, color=colour, label=f"n = {n}")
    here = (lambdas - background).abs().argmin()
    right.semilogy([background], [curves[8][here]], "o", color=RED)
    right.set(xlabel="background λ", ylabel="error ε", ylim=(0.03, 5))
    right.legend()
    return fig


def phases(survey: Survey) -> Figure:
    """Shares of the labels against the price, and what the networks cost and miss."""
    logs, shares = survey.beta.log10().numpy(), survey.shares()
    fig, (top, bottom) = figure(2, 1, height=4.8, sharex=True, height_ratios=[1.6, 1])
    colours = [COLOURS[k] for k in ORDER]
    top.stackplot(logs, shares[:, ORDER].T, colors=colours, labels=[LABELS[k] for k in ORDER], alpha=0.85)
    top.set(ylabel="share of hypernetworks", ylim=(0, 1), xlim=(logs[0], logs[-1]))
    top.legend(loc="upper center", bbox_to_anchor=(0.5, 1.25), ncols=5)
    for k in ORDER:
        mask = (survey.labels == k).double()
        mean = (survey.nats.double() * mask).sum(0) / mask.sum(0)  # NaN where there is none
        bottom.plot(logs, mean, ".-", color=COLOURS[k])
    bottom.set(xlabel="log₁₀ of the price β", ylabel="nats", yscale="symlog", ylim=(0, None))
    bottom.set_yticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    return fig


def moment(surveys: list[Survey], steps: list[int], k: int) -> Figure:
    """The most frequent label at every price and moment of training, and the shares at the moment with index `k`."""
    logs = surveys[0].beta.log10().numpy()
    fig, (left, right) = figure(1, 2, height=3.4, width_ratios=[1, 1.2])
    strength, winner = torch.stack([survey.shares() for survey in surveys]).max(2)
    image = [
        [(*to_rgb(COLOURS[int(label)]), float(share)) for share, label in zip(*row, strict=True)]
        for row in zip(strength, winner, strict=True)
    ]
    half = (logs[1] - logs[0]) / 2
    extent = (logs[0] - half, logs[-1] + half, -0.5, len(steps) - 0.5)
    left.imshow(np.array(image), origin="lower", aspect="auto", interpolation="nearest", extent=extent)
    left.axhline(k, color=INK, lw=1.2)
    left.set(yticks=range(len(steps)), yticklabels=steps)
    left.set(xlabel="log₁₀ of the price β", ylabel="updates", title="most frequent label")
    left.grid(False)
    shares = surveys[k].shares()
    colours = [COLOURS[label] for label in ORDER]
    right.stackplot(logs, shares[:, ORDER].T, colors=colours, labels=[LABELS[label] for label in ORDER], alpha=0.85)
    right.set(xlabel="log₁₀ of the price β", ylabel="share", ylim=(0, 1), xlim=(logs[0], logs[-1]))
    right.set_title(f"after {steps[k]} updates")
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def gallery(networks: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> Figure:
    """At most five networks, (W, w, ε) by name, as graphs, and what the colours mean."""
    fig, axes = figure(2, 3, height=5.2)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, (W, w, eps)) in zip(axes.flat, networks.items(), strict=False):
        sketch(ax, W, w, f"{name}, ε = {eps:.2g}")
        for lines in ax.collections[:2]:
            lines.set_rasterized(True)
    dots = (("o", GREEN, "input"), ("o", GREY, "hidden neuron"), ("o", INK, "output"))
    lines = (("-", RED, "weight > 0"), ("-", BLUE, "weight < 0"))
    key = [axes.flat[-1].plot([], [], style, color=colour, label=name)[0] for style, colour, name in (*dots, *lines)]
    axes.flat[-1].legend(handles=key, loc="center")
    return fig


def matrices(networks: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> Figure:
    """Weights of at most five networks, (W, w, ε) by name; each row with the sign of its output weight."""
    fig, axes = figure(1, 5, height=3.2)
    for ax in axes[len(networks) :]:
        ax.set_axis_off()
    for ax, (name, (W, w, _)) in zip(axes, networks.items(), strict=False):
        matrix(ax, W * w.sign()[:, None])
        ax.set_title(name, fontsize=8)
    axes[0].set(ylabel="hidden neuron")
    return fig


def reach(
    surveys: list[Survey], member: int, sizes: list[int], trained: list[int], errors: dict[str, list[float]]
) -> Figure:
    """Weights that one hypernetwork makes for the smallest, a middle and the largest of `sizes`, and errors against size."""
    fig, axes = figure(1, 4, height=3.3, width_ratios=[0.7, 0.7, 0.7, 2.2])
    for ax, i in zip(axes, (0, len(sizes) // 2, len(sizes) - 1), strict=False):
        matrix(ax, surveys[i].W[0, member, -1], f"n = {sizes[i]}\nε = {surveys[i].eps[0, member, -1]:.2g}")
        ax.set(xticks=[], yticks=[])
    axes[0].set(ylabel="hidden neuron")
    styles = (("o-", BLUE), ("s-", RED), ("s--", OCHRE))
    for (name, values), (style, colour) in zip(errors.items(), styles, strict=True):
        axes[3].loglog(sizes, values, style, color=colour, label=name)
    for n in trained:
        axes[3].axvline(n, color=BLUE, alpha=0.25, lw=4)
    axes[3].minorticks_off()
    axes[3].set_xticks(sizes, sizes)
    axes[3].set(xlabel="inputs n", ylabel="median error ε")
    axes[3].legend(loc="upper center", bbox_to_anchor=(0.5, 1.35))
    return fig


def flipped(W: torch.Tensor, w: torch.Tensor, spins: Spins) -> Figure:
    """A directly trained network W (h, n), w (h,), the first in `spins`; that with flipped inputs; all mean signs."""
    fig, (left, middle, right) = figure(1, 3, height=3.4)
    plum = W.square().amax(1) > 0.5 * W.square().sum(1)
    rank = torch.argsort(W.abs().argmax(1) + len(w) * ~plum)
    rows = (W * w.sign()[:, None])[rank]
    matrix(left, rows, "as trained")
    left.set(ylabel="hidden neuron, by owner")
    matrix(middle, rows * spins.sign[0], "inputs flipped")
    right.hist(spins.sign.mean(-1), bins=np.linspace(-1, 1, 17), color=BLUE)
    right.axvline(0, color=INK, lw=0.8, ls=":")
    right.yaxis.get_major_locator().set_params(integer=True)
    right.set(xlabel="mean sign of a network", ylabel="networks", title="mean signs")
    return fig


def scene(parameters: dict[str, torch.Tensor], members: list[int]) -> dict[str, np.ndarray]:
    """What the live scene needs of the hypernetworks in `members`: their `parameters`, as `generator.initial` has them."""
    return {name: tensor[members].cpu().numpy() for name, tensor in parameters.items()}
