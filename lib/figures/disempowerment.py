"""The drawings of the chapter on disempowerment that are too long for a cell."""

import numpy as np
import torch

from ..papers.disempowerment import sequence
from ..reading import BLUE, GREEN, GREY, INK, OCHRE, RED, figure

PROFESSIONS = ("artists", "actors", "writers", "programmers", "lawyers", "teachers", "doctors")
LEDGER = {"awareness": 0.5, "patience": 0.8, "efficacy": 0.6}  # what the lawyer believes before anyone speaks to her
STAKE, COST, DELAY, REPEL, DIFFERENCE = 60, 4.5, 2, 0.25, 0.4  # months of income, months, years, chance, chance


STYLES = {  # of a world's verdict on the map
    0: {"s": 4, "color": GREY, "label": "nothing changes"},
    1: {"s": 10, "color": BLUE, "label": "more help, likelier to prevail"},
    -1: {"s": 30, "color": RED, "marker": "x", "lw": 1.5, "label": "not so"},
}


def ledger_factors(awareness, patience, efficacy):
    """The factors of the lawyer's sum, in order: what helping saves her is their product times `STAKE`."""
    return {
        "her income for five years": 1,
        "× how sure her turn comes": awareness,
        f"× what two years hence count ({patience:g}²)": patience**DELAY,
        "× chance she then loses alone": 1 - efficacy * REPEL,
        "× what her help changes": efficacy * DIFFERENCE,
    }


def ledger(**beliefs):
    """The lawyer's sum, step by step, when her beliefs are `LEDGER` but for `beliefs`: a figure."""
    steps = ledger_factors(**LEDGER | beliefs)
    left = STAKE * np.cumprod(list(steps.values()))
    fig, (sums, choice) = figure(1, 2, width=7.2, height=2.6, width_ratios=(2, 1))
    sums.barh(range(len(left)), left, color=[GREY] * (len(left) - 1) + [BLUE])
    sums.set_yticks(range(len(left)), list(steps))
    for row, (months, factor) in enumerate(zip(left, steps.values(), strict=True)):
        sums.text(months + 1, row, f"{months:.1f}" + (f"  (× {factor:.2f})" if row else ""), va="center")
    sums.set(xlim=(0, 78), xlabel="months of income")
    sums.invert_yaxis()
    choice.barh([0, 1], [left[-1], COST], color=[BLUE, OCHRE])
    choice.set_yticks([0, 1], ["saves her", "costs her"])
    for row, months in enumerate((left[-1], COST)):
        choice.text(months + 0.2, row, f"{months:.1f}", va="center")
    choice.invert_yaxis()
    choice.set(xlim=(0, 10), xlabel="months", title="She helps" if left[-1] >= COST else "She stays out")
    return fig


def who_helps(games, plan):
    """Who helps whom in the first of `games`, played as `plan` says: a row a stage, a column a group; a figure."""
    n = games.stake.shape[1]
    wins = sequence.chance(1 + plan.support.sum(2), games.strength, games.steepness)[0]
    fig, ax = figure(height=0.42 * n + 0.9)
    for stage in range(n):
        for group in range(stage, n):
            helps = bool(plan.support[0, stage, group])
            colour = RED if group == stage else BLUE if helps else "none"
            ax.scatter(group, stage, s=190, marker="s" if group == stage else "o", color=colour, edgecolors=GREY)
        ax.text(n - 0.3, stage, f"{100 * wins[stage]:.0f} %", va="center")
    ax.text(n - 0.3, -0.75, "they win", va="center")
    ax.set_xticks(range(n), PROFESSIONS[:n])
    ax.set_yticks(range(n), [f"against {name}" for name in PROFESSIONS[:n]])
    ax.tick_params(length=0)
    ax.set(xlim=(-0.6, n + 0.5), ylim=(n - 0.5, -1.1))
    ax.grid(False)
    ax.spines[:].set_visible(False)
    lost = n * (1 - sequence.saved(games, plan.support)[0])
    ax.set_title(f"Attacked (square), helping (full circle): {lost:.1f} of {n} lost on average")
    return fig


def fates(taken):
    """Bars of how likely each group is taken, for each way to play in `taken`, a dict of numbers (n,): a figure."""
    fig, ax = figure(height=3)
    for i, ((name, values), colour) in enumerate(zip(taken.items(), (RED, OCHRE, BLUE), strict=True)):
        ax.bar(np.arange(len(values)) + 0.27 * (i - 1), 100 * np.asarray(values), 0.25, color=colour, label=name)
    ax.set_xticks(range(len(values)), PROFESSIONS[: len(values)])
    ax.set(ylabel="chance to be taken, %", title="Reconstruction: five professions")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def losses(lost):
    """Bars of how many groups are lost on average, for each of `lost`, a dict of tensors (games,): a figure."""
    fig, ax = figure(height=2.2)
    means = [values.mean().item() for values in lost.values()]
    ax.barh(list(lost), means, color=[OCHRE, RED, RED, BLUE])
    for row, mean in enumerate(means):
        ax.text(mean + 0.03, row, f"{mean:.2f}", va="center")
    ax.invert_yaxis()
    ax.set(xlabel="professions lost", title="Reconstruction: infighting")
    return fig


def both_ways(ax, changes, title):
    """In `ax`, for each row of `changes`, a dict of tensors (games,): shares of games in which it is up, and down."""
    for row, change in enumerate(changes.values()):
        up, down = (100 * (sign * change > 1e-12).double().mean().item() for sign in (1, -1))
        ax.barh(row, up, color=BLUE, label="more" if not row else None)
        ax.barh(row, -down, color=RED, hatch="//", label="less" if not row else None)
        ax.text(up, row, f" {up:.1f}", va="center")
    ax.set_yticks(range(len(changes)), list(changes))
    ax.set_ylim(len(changes) - 0.5, -0.5)
    ax.axvline(0, color=INK, lw=0.8)
    ax.set(title=title, xlabel="% of games")
    ax.margins(x=0.15)
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.3g}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)


def fold(people, ax):
    """In `ax`, the equilibria of one population against efficacy, the stable ones solid."""
    efficacy, share = (values[::4] for values in people.equilibria)
    rising = np.gradient(efficacy) > 0
    ax.plot(np.where(rising, efficacy, np.nan), 100 * share, color=BLUE)
    ax.plot(np.where(rising, np.nan, efficacy), 100 * share, color=BLUE, ls="--", lw=1)
    ax.set(
        xlim=(0.25, 1.02), ylim=(-2, 100), xlabel="how sure people are that effort is not futile", ylabel="% who take part"
    )


def takings(games):
    """What the threat takes, a panel for each of `games`, a dict of dicts of two arrays, in turn and at once: a figure."""
    fig, ax = figure(1, len(games), width=7.2, height=2.6, sharey=True)
    for panel, (name, taken) in zip(ax, games.items(), strict=True):
        means = [100 * float(values.mean()) for values in taken.values()]
        panel.bar([0, 1], means, 0.6, color=[RED, GREY])
        for at, mean in enumerate(means):
            panel.text(at, mean + 1, f"{mean:.1f}", ha="center")
        panel.set_xticks([0, 1], ["one after\nthe other", "all\nat once"])
        panel.set(title=name, ylim=(0, 75))
    ax[0].set_ylabel("threat takes, % of all")
    return fig


def map_of_worlds(games):
    """Where changes of belief help: a row for each of `games`, a column a change; a figure.

    Args:
        games: for each name two numbers of every world (N,), what helping is worth over its cost and efficacy, and a dict of
            what comes of each change (N,): 1 more help and a better chance, -1 not so, 0 nothing.
    """
    columns = len(next(iter(games.values()))[2])
    fig, axes = figure(len(games), columns, width=7.2, height=5.8, sharex=True, sharey=True)
    for row, (game, (worth, efficacy, verdicts)) in zip(axes, games.items(), strict=True):
        for ax, (prediction, verdict) in zip(row, verdicts.items(), strict=True):
            for value, style in STYLES.items():
                at = np.asarray(verdict) == value
                ax.scatter(worth[at], efficacy[at], **style, rasterized=True)
            if ax in axes[0]:
                ax.set_title(prediction)
        row[0].set_ylabel(f"{game}\nefficacy")
    for ax in axes[-1]:
        ax.set_xlabel("worth of help / cost")
    axes[0, 0].set(xscale="log", xlim=(1e-3, 1e2), ylim=(0, 1))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def change_with_strength(strength, changes):
    """Mean change of unity against the threat's strength, a line for each of `changes`; all tensors (games,): a figure."""
    edges = torch.linspace(0.5, 6, 12, dtype=torch.float64)
    place = torch.bucketize(strength.contiguous(), edges[1:-1].to(strength))
    fig, ax = figure(height=3)
    for (name, change), colour, marker in zip(changes.items(), (BLUE, RED), "os", strict=True):
        means = [100 * change[place == i].mean().item() for i in range(len(edges) - 1)]
        ax.plot((edges[1:] + edges[:-1]) / 2, means, marker + "-", color=colour, label=name)
    ax.axhline(0, color=INK, lw=0.8)
    ax.set(
        xlabel="strength of the threat (a profession alone: 1)",
        ylabel="change of help,\n% of all that could be given",
    )
    ax.legend()
    return fig


def first_victims(place):
    """How often each rank of readiness stands at each place of the threat's best order, `place` (places, ranks)."""
    n = len(place)
    fig, ax = figure(height=3)
    image = ax.imshow(100 * np.asarray(place), cmap="cividis", aspect="auto", vmin=0)
    fig.colorbar(image, label="% of games")
    ax.grid(False)
    ax.set_xticks(range(n), ["readiest", *[""] * (n - 2), "least ready"])
    ax.set_yticks(range(n), [f"attacked {i}." for i in range(1, n + 1)])
    ax.set(xlabel="how ready a profession is to help", title="Reconstruction: the threat's best order")
    return fig


def hysteresis(people, path, shares, moment):
    """The equilibria of one population, and the path (moments,) of its members up to a moment: a figure."""
    fig, ax = figure(height=3)
    fold(people, ax)
    ax.plot(path[: moment + 1], 100 * shares[: moment + 1], color=GREEN, lw=1)
    ax.plot(path[moment], 100 * shares[moment], "o", color=RED, ms=9)
    way = "fading" if moment < len(path) / 2 else "returning"
    ax.set_title(f"Reconstruction: a public whose belief is {path[moment]:.2f} and {way}")
    return fig
