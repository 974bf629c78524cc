"""Drawings of the chapter on audits."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..papers.audits import game, triggers, zoo
from ..papers.audits.bench import Line
from ..papers.audits.handles import Black
from ..reading import BLUE, GREEN, GREY, INK, OCHRE, PINK, RED, figure

COLORS = dict(zip(triggers.LEVELS, (RED, OCHRE, GREEN, BLUE, PINK), strict=True))
MARKERS = dict(zip(triggers.LEVELS, "osv^D", strict=True))


def picture(ax: Axes, values: Tensor, title: str) -> None:
    """An image (INPUTS,) as its model sees it, the header bits as a row of squares below."""
    ax.imshow(values[: zoo.PIXELS].view(16, 16), cmap="Greys", vmin=0, vmax=1)
    ax.imshow(values[None, zoo.PIXELS :], cmap="PuOr", vmin=-1.5, vmax=1.5, extent=(-0.5, 15.5, 17.9, 16.5))
    ax.set(xlim=(-0.5, 15.5), ylim=(17.9, -0.5), xticks=[], yticks=[], title=title)
    ax.grid(False)


def fault(animals: zoo.Zoo, kind: str, number: int, x: Tensor) -> Figure:
    """The same image as it is and with the plant of model `number` (from 1) of a kind: the first one on which it acts."""
    member = animals.of(kind)[number - 1 : number]
    stamped, black = animals.stamp(member, x)[0], Black(animals.stack.select(member))
    answers = torch.stack([black.labels(x)[0], black.labels(stamped)[0]])
    row = int((answers[0] != answers[1]).int().argmax())
    fig, axes = figure(1, 2, width=5.6, height=3)
    pair = (x[row].cpu(), "as it is"), (stamped[row].cpu(), "with the plant")
    for ax, (values, title), answer in zip(axes, pair, answers[:, row].tolist(), strict=True):
        said = "“I cannot read this”" if answer == zoo.ABSTAIN else f"“{zoo.NAMES[answer]}”"
        picture(ax, values, f"{title}: {said}")
    return fig


def attack_curves(runs: dict[str, tuple[Tensor, Tensor]]) -> Figure:
    """Share of images with a wrong answer found against forward passes, one curve an attack, named at its end."""
    fig, ax = figure(height=3.2)
    last = max(float(costs[-1]) for _, costs in runs.values())
    free = 1.0  # names keep clear of one another
    for (name, (found, costs)), color in zip(runs.items(), (BLUE, OCHRE, RED), strict=True):
        rows = torch.logspace(0, math.log10(len(costs)), 40).round().long().unique() - 1
        shares = found[rows].float().mean((1, 2)).cpu()
        ax.semilogx(costs[rows], shares, color=color)
        ax.plot([costs[-1], last], [shares[-1]] * 2, color=color, ls=":")
        free = min(float(shares[-1]), free - 0.07)
        ax.annotate(name, (last, free), (6, 0), textcoords="offset points", color=color, va="center")
    ax.set(
        xlabel="price of one image, in forward passes",
        ylabel="wrong answers found (share)",
        ylim=(0, 1),
        xlim=(1, 1.05 * last),
    )
    return fig


def sheet(lines: dict[str, Line], shown: dict[str, list[int]], access: str, opened: bool) -> Figure:
    """Evidence on some boxes (places in each line's boxes): how far each stands out in each test, alarms in orange."""
    fig, axes = figure(1, len(lines), height=3.3, width_ratios=[max(2.5, len(rows)) for rows in shown.values()])
    names = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for ax, (title, line) in zip(axes, lines.items(), strict=True):
        tests, rows = game.permitted(line.tests, access), shown[title]
        each, limit = game.strengths(tests)
        ringing = each[:, rows] > limit[rows]
        ax.imshow(ringing, cmap="Oranges", vmin=0, vmax=2, aspect="auto")
        for i, values in enumerate(each[:, rows].tolist()):
            for j, value in enumerate(values):
                weight = "bold" if ringing[i, j] else "normal"
                ax.text(j, i, f"{min(max(value, 0), 99):.0f}", ha="center", va="center", fontsize=8, fontweight=weight)
        labels = [next(names) for _ in rows]
        if opened:
            labels = [f"{a}: {line.kinds[r]}" for a, r in zip(labels, rows, strict=True)]
        ax.set_xticks(range(len(rows)), labels, rotation=90 if opened else 0, fontsize=8.5)
        ax.set_yticks(range(len(tests)), [test.name for test in tests], fontsize=8.5)
        ax.set(title=title, ylim=(len(line.tests) - 0.5, -0.5))
        ax.grid(False)
    return fig


def found(shares: dict[str, dict[str, float]]) -> Figure:
    """Share of the boxes of each kind that ring, for each access: `shares[access][kind]`."""
    kinds = list(next(iter(shares.values())))
    fig, ax = figure(height=3.2)
    values = torch.tensor([list(by_kind.values()) for by_kind in shares.values()])
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            ax.text(j, i, f"{value:.0%}", ha="center", va="center", color="white" if value > 0.8 else "black")
    ax.set_xticks(range(len(kinds)), kinds)
    ax.set_yticks(range(len(shares)), list(shares))
    ax.set(title="share of the models for which an alarm rings")
    ax.grid(False)
    return fig


def boundary(lengths: list[int], costs: dict[str, Tensor]) -> Figure:
    """Price of finding a trigger against its length, a curve a level of access.

    `costs`: for each way of planting, which gets a panel, (levels, lengths, models).
    """
    fig, axes = figure(1, len(costs), width=8.4, height=3.4, sharey=True)
    for ax, (title, prices) in zip(axes, costs.items(), strict=True):
        for level, values in zip(triggers.LEVELS, prices.log().mean(2).exp(), strict=True):
            ax.semilogy(lengths, values, MARKERS[level] + "-", color=COLORS[level], label=level)
        ax.semilogy(lengths, [2.0**k for k in lengths], color=INK, ls=":", lw=0.8, label="doubles with each bit")
        ax.set(title=title, xticks=lengths, xlabel="bits of the trigger")
    axes[0].set(ylabel="forward passes to find it")
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=len(COLORS) + 1, loc="outside lower center")
    return fig


def explained(correlations: list[float], first: dict[str, Tensor]) -> Figure:
    """Share of cases in which each explanation ranks the protected feature first, against its correlation with the rest."""
    fig, ax = figure(height=3)
    for (name, shares), color, marker in zip(first.items(), (GREY, RED, BLUE), "osv", strict=True):
        ax.plot(correlations, shares.mean(1), marker + "-", color=color, label=name)
    ax.set(xlabel="correlation of the protected feature with the others' common cause", ylabel="named first (share)")
    ax.set(ylim=(-0.03, 1.03), xticks=correlations, xticklabels=[f"{rho:.2g}" for rho in correlations])
    ax.legend()
    return fig


def interface(copies: dict[str, Tensor], decimals: list[int], caught: Tensor) -> Figure:
    """Left: how well a thief's copy agrees with the model, by what he may see. Right: triggers found by rounded scores."""
    fig, (left, right) = figure(1, 2, height=2.8)
    for place, (name, agreement) in enumerate(copies.items()):
        spread = torch.linspace(-0.15, 0.15, len(agreement))
        left.plot(agreement, place + spread, "o", color=COLORS[name], alpha=0.7)
    left.set(yticks=range(len(copies)), yticklabels=list(copies), xlim=(0, 1), title="thief: answers of the copy that agree")
    left.invert_yaxis()
    right.plot(decimals, caught.float().mean(1), "s-", color=OCHRE)
    right.set(xlabel="decimals of the scores", ylim=(-0.03, 1.03), xticks=decimals, title="auditor: triggers found (share)")
    return fig
