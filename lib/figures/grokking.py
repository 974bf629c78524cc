"""Drawings of the chapter on grokking as compression."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..papers import grokking
from ..papers.grokking import History, Pieces
from ..reading import BLUE, GREEN, GREY, INK, OCHRE, PALETTE, PINK, RED, figure

Curves = dict[str, Tensor]


def _matrix(ax, L, title, low=0.0):
    image = ax.imshow(L, vmin=low, vmax=1, interpolation="none", rasterized=True)
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)
    return image


def pieces(functions: list[Pieces], matrices: list[Tensor], x: Tensor) -> Figure:
    """Above, three outputs of the first of each family of `functions` at the points x (N,); below, its L (N, N)."""
    fig, axes = figure(2, len(functions), height=4.8, gridspec_kw={"height_ratios": [1, 1.5]})
    for (top, bottom), f, L in zip(axes.T, functions, matrices, strict=True):
        count = f.slopes.shape[1]
        y = f(x[None, :, None].expand(len(f.slopes), -1, -1))[0]
        top.plot(x, y[:, :3])
        for k in range(1, count):
            top.axvline(k / count, color=GREY, lw=0.7, ls=":")
        top.set(title=f"{count} linear maps", xlabel="input x")
        _matrix(bottom, L, f"L: LMN = {float(grokking.lmn(L)):.1f}")
    axes[0, 0].set_ylabel("outputs")
    return fig


def one_function(f: Pieces, L: Tensor, x: Tensor) -> Figure:
    """Three outputs of the first of the functions f at the points x (N,), its L (N, N) and the shares of L's eigenvalues."""
    fig, (left, middle, right) = figure(1, 3, height=2.8)
    count = f.slopes.shape[1]
    left.plot(x, f(x[None, :, None].expand(len(f.slopes), -1, -1))[0, :, :3])
    for k in range(1, count):
        left.axvline(k / count, color=GREY, lw=0.7, ls=":")
    left.set(title=f"{count} linear map{'s' * (count > 1)}", xlabel="input x", ylabel="outputs")
    _matrix(middle, L, "L")
    size = torch.linalg.eigvalsh(L).abs().sort(descending=True).values
    right.bar(range(1, 21), size[:20] / size.sum(), color=BLUE)
    right.set(title=f"LMN = {float(grokking.lmn(L)):.1f}", xlabel="eigenvalue", ylabel="share q", ylim=(0, 1.02))
    return fig


def counted(counts: list[int], numbers: Tensor, lengths: Tensor) -> Figure:
    """LMN against the number of pieces, and against the length of the compressed function; both (counts, maps)."""
    fig, (left, right) = figure(1, 2, height=2.9)
    left.plot(counts, counts, color=GREY, lw=0.9, ls=":", label="one for one")
    left.plot(counts, numbers, ".", color=BLUE, alpha=0.4)
    left.plot(counts, numbers.mean(1), "o-", color=BLUE, label="mean of LMN")
    left.set(xlabel="pieces of the function", ylabel="LMN")
    left.legend(loc="upper left")
    right.plot(lengths.flatten(), numbers.flatten(), ".", color=BLUE, alpha=0.4)
    right.set(xlabel="bytes after compression", ylabel="LMN")
    return fig


def course(ax, history: History, curves: Curves, member: int | None = None) -> None:
    """Accuracies, LMN and norm against time on `ax`, on one axis from 0 to their largest value; all members, or one."""
    for m in range(history.norms.shape[1]) if member is None else [member]:
        lines = {
            "training accuracy": (history.accuracies[:, m, 0], GREY, "-"),
            "test accuracy": (history.accuracies[:, m, 1], GREEN, "-"),
            "LMN / largest of all": (curves["LMN"][:, m] / curves["LMN"].max(), BLUE, "-"),
            "L₂ / largest of all": (curves["norm"][:, m] / curves["norm"].max(), OCHRE, "--"),
        }
        for name, (values, color, style) in lines.items():
            ax.plot(history.steps, values, color=color, ls=style, lw=1.2, label=name)
    ax.set(xlabel="updates", ylim=(0, 1.05))


def _legend_below(fig, ax):
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    fig.legend(handles.values(), handles, loc="outside lower center", ncols=4)


def watched(history: History, curves: Curves, L: Tensor, updates: int) -> Figure:
    """One network after some updates: L (N, N) in the order of the answers, its eigenvalues, and the course of training."""
    fig, (left, middle, right) = figure(1, 3, height=3.0)
    _matrix(left, L, f"L: LMN = {curves['LMN'][history.at(updates), 0]:.1f}", 0.5)
    values = torch.linalg.eigvalsh(L)
    values = values[values.abs().argsort(descending=True)]
    place = torch.arange(1, len(values) + 1)
    for sign, color, label in ((1, BLUE, "positive"), (-1, RED, "negative")):
        use = sign * values > 0
        middle.loglog(place[use], (sign * values)[use], ".", color=color, ms=3, label=label)
    middle.set(xlabel="rank", ylim=(1e-4, 500), title="eigenvalues of L")
    middle.legend(loc="upper right")
    course(right, history, curves, 0)
    right.axvline(updates, color=RED, lw=1)
    right.set_title(f"after {updates} updates")
    _legend_below(fig, right)
    return fig


def tasks(runs: dict[str, tuple[History, Curves]]) -> Figure:
    """The course of training on each task, all networks."""
    fig, axes = figure(1, len(runs), height=3.0, sharey=True)
    for ax, (name, (history, curves)) in zip(axes, runs.items(), strict=True):
        course(ax, history, curves)
        ax.set_title(name)
    _legend_below(fig, axes[0])
    return fig


def against_loss(runs: dict[str, tuple[History, Curves]]) -> Figure:
    """LMN and norm against the test loss in the compression phase, a column a task and a colour a network."""
    fig, axes = figure(2, len(runs), height=4.5, sharex="col")
    for column, (task, (history, curves)) in zip(axes.T, runs.items(), strict=True):
        for ax, name in zip(column, ("LMN", "norm"), strict=True):
            for m, inside in enumerate(grokking.phase(history).T):
                ax.plot(curves["test loss"][inside, m], curves[name][inside, m], ".-", lw=0.7, color=PALETTE[m % 6])
        column[0].set_title(f"{task}: LMN")
        column[1].set(xlabel="test loss (nats)", title=f"{task}: L₂")
    return fig


def layers(steps: list[int], numbers: dict[str, Tensor]) -> Figure:
    """LMN from several layers on, each (times, members): mean and range."""
    fig, ax = figure(height=2.8)
    for (name, values), color in zip(numbers.items(), (OCHRE, BLUE, PINK), strict=True):
        ax.plot(steps, values.mean(1), "o-", color=color, label=name)
        ax.fill_between(steps, values.amin(1), values.amax(1), color=color, alpha=0.2, lw=0)
    ax.set(xlabel="updates", ylabel="LMN, mean and range", yscale="log")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def exclusive_or(history: History, curves: Curves) -> Figure:
    """LMN and norm over time, a colour a network; dotted where it has generalised."""
    fig, axes = figure(1, 2, height=2.9)
    for ax, name, title in zip(axes, ("LMN", "norm"), ("LMN", "L₂, the norm of the parameters"), strict=True):
        for m, color in zip(range(history.norms.shape[1]), PALETTE, strict=False):
            ax.plot(history.steps, curves[name][:, m], color=color, label=f"network {m}")
            ax.axvline(history.generalised[m], color=color, lw=0.7, ls=":")
        ax.set(xlabel="updates", ylim=(0, None), title=title)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def patterns(history: History, curves: Curves) -> Figure:
    """The distances ρ (T, S, 2) between bit patterns with the same answer over time, a colour a network."""
    fig, axes = figure(1, 2, height=2.7, sharey=True)
    titles = ("(0,1) from (1,0)", "(0,0) from (1,1)")
    for ax, title, distance in zip(axes, titles, curves["ρ"].unbind(2), strict=True):
        for m, (line, color) in enumerate(zip(distance.T, PALETTE, strict=False)):
            ax.plot(history.steps, line, color=color, label=f"network {m}")
        ax.set(xlabel="updates", ylim=(0, None), title=title)
    axes[0].set_ylabel("distance ρ")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def more_inputs(counts: list[int], growth: dict[str, Tensor]) -> Figure:
    """LMN of the same networks against the number of inputs, each (counts, members), with a line of slope one."""
    fig, ax = figure(height=2.9)
    for (name, values), color in zip(growth.items(), (GREY, RED, BLUE), strict=True):
        ax.loglog(counts, values, color=color, alpha=0.35, lw=1)
        ax.loglog(counts, values.mean(1), "o-", color=color, label=name)
    top = growth["peak"][-1].mean()
    ax.loglog(counts, [top * n / counts[-1] for n in counts], color=INK, lw=0.8, ls=":", label="in proportion to N")
    ax.set(xlabel="inputs N", ylabel="LMN")
    ax.set_xticks(counts, [str(n) for n in counts])
    ax.set_xticks([], minor=True)
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def _by_start(runs, measures, height):
    """Measures over time, a panel each and a colour a start; `measures` read them from a history and its curves."""
    fig, axes = figure(1, len(measures), height=height, squeeze=False)
    for (label, run), color in zip(runs.items(), (BLUE, RED), strict=True):
        for ax, (name, measure) in zip(axes[0], measures.items(), strict=True):
            ax.plot(run[0].steps, measure(*run), color=color, lw=1.1)
            ax.set(xlabel="updates", ylabel=name)
        axes[0, 0].plot([], [], color=color, label=label)
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def two_starts(runs: dict[str, tuple[History, Curves]]) -> Figure:
    """Test accuracy and LMN over time, a colour a start of the embedding."""
    measures = {"test accuracy": lambda history, _: history.accuracies[..., 1], "LMN": lambda _, curves: curves["LMN"]}
    return _by_start(runs, measures, 2.9)


def jacobian_count(runs: dict[str, tuple[History, Curves]]) -> Figure:
    """The Jacobian count over time, a colour a start of the embedding."""
    return _by_start(runs, {"Jacobian count": lambda _, curves: curves["Jacobian"]}, 2.7)


def pushed(runs: dict[str, tuple[History, Curves]]) -> Figure:
    """LMN and test accuracy over time of networks that were treated in different ways, all of them."""
    fig, (left, right) = figure(1, 2, height=3.1)
    for (label, (history, curves)), color in zip(runs.items(), (RED, GREY, BLUE), strict=True):
        left.plot(history.steps, curves["LMN"], color=color, lw=1.1)
        right.plot(history.steps, history.accuracies[..., 1], color=color, lw=1.1)
        right.plot([], [], color=color, label=label)
    left.set(xlabel="updates", ylabel="LMN", yscale="log")
    right.set(xlabel="updates", ylabel="test accuracy", ylim=(-0.03, 1.03))
    fig.legend(loc="outside lower center", ncols=3)
    return fig
