"""Drawings of the chapter on MIPS."""

from textwrap import wrap

import numpy as np

from ..papers.mips import affine, scoreboard
from ..papers.mips.networks import Network
from ..papers.mips.normal import integer_share, observer
from ..papers.mips.picture import draw_machine
from ..papers.mips.pipeline import Distilled, Study
from ..papers.mips.programs import symbols
from ..reading import BLUE, GREEN, GREY, OCHRE, PINK, RED, figure

KINDS = {"affine": BLUE, "formula": GREEN, "template": OCHRE, "table": PINK}
STATES = "abcdefgh"
LINE = 44  # characters in a line of a program, at most: as many as fit on a phone


def draw_response(ax, net, steps):
    """The answers of an affine network to a single 1, one line for each pair of input and output."""
    M = affine.markov(net, steps)[0]
    for (o, i), color in zip(np.ndindex(*M.shape[1:]), (BLUE, RED, GREEN, OCHRE), strict=False):
        label = f"y{o} to x{i}" if M.shape[1] > 1 else None
        ax.plot(M[:, o, i], "o-", color=color, label=label, alpha=0.8)
    ax.set(xlabel="steps later", title=f"answer to a single 1, rank {affine.rank(M)}")
    if M.shape[1] > 1:
        ax.legend(fontsize=7)


def draw_task(row, seed):
    """What was read from one network: machine, table of moves or response; the program; one fresh sequence."""
    fig, (left, right) = figure(1, 2, width=7.2, height=4.6, width_ratios=[1, 1.7])
    found, net, program = row.result.machine, row.trained.net, row.result.program
    if found is None and net.affine:
        draw_response(left, net, row.task.T)
    elif found is None:
        left.set_axis_off()
    else:
        draw_machine(left, found, (BLUE, RED, GREY))
    right.set_axis_off()
    right.set_title(f"{row.task.name}: {row.kind}", loc="left")
    text = row.text if len(row.text) < 900 else f"a table of {len(found)} states"
    x, y = row.task.sample(1, [seed, 9])
    shown = [("x", x), ("network", net(x)), *([("program", program(x))] if program else []), ("truth", y)]
    named = [(symbols(v.shape[2])[i].replace("x", name), v[0, :10, i]) for name, v in shown for i in range(v.shape[2])]
    width = {"width": LINE, "subsequent_indent": 12 * " "} if text else {"width": 0.7 * LINE}
    lines = [part for line in (text or row.reason).splitlines() for part in wrap(line, break_on_hyphens=False, **width)][:20]
    wide = max(3, 1 + max(len(str(value)) for _, values in named for value in values))
    sample = [f"{name:9}" + "".join(f"{v:{wide}}" for v in values[: (LINE - 9) // wide]) for name, values in named]
    apart = min(0.05, (1.02 - 0.052 * len(sample)) / len(lines))
    style = {"fontsize": 9, "family": "monospace", "transform": right.transAxes}
    for i, line in enumerate(lines):
        right.text(0, 1 - apart * i, line.replace(" ", "\u00a0"), va="top", **style)
    for i, line in enumerate(reversed(sample)):
        right.text(0, 0.052 * i - 0.06, line.replace(" ", "\u00a0"), **style)
    return fig


def draw_lattice(road: Distilled, share, title):
    """Hidden states (two units) and lattice, `share` of the way from the network's units to lattice coordinates."""
    found, h = road.solutions["trained"].lattice, road.stages["trained"].states(road.x).reshape(-1, 2)
    z = found.coordinates(h)
    near = (abs(z - np.round(np.median(z, 0))) <= 5.5).all(1)
    centre, size = h[near].mean(0), z[near].std() / h[near].std()
    sides = [np.arange(np.floor(z[near, i].min()), np.ceil(z[near, i].max()) + 1) for i in (0, 1)]
    corners = np.stack(np.meshgrid(*sides), -1).reshape(-1, 2)
    fig, ax = figure(height=3.6)
    for points, coded, style in (
        (found.decode(corners), corners, {"marker": "+", "s": 60, "color": GREY, "lw": 0.8, "label": "lattice"}),
        (h[near], z[near], {"s": 14, "color": BLUE, "alpha": 0.5, "rasterized": True, "label": "hidden states"}),
    ):
        own = (points - centre) * size + z[near].mean(0)
        ax.scatter(*((1 - share) * own + share * coded).T, **style)
    ax.set(xlabel="first coordinate", ylabel="second coordinate", title=title, aspect="equal")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def draw_weights(net: Network, title):
    """All weights of an affine network, whole numbers in pale cells."""
    W, U, b, V, c = net.weights
    top, n, d = np.concatenate([W, U, b[:, None]], 1), net.size, U.shape[1]
    every = np.concatenate([top, np.concatenate([V, np.full((len(V), d), np.nan), c[:, None]], 1)])
    fig, ax = figure(height=0.9 + 0.42 * len(every))
    ax.imshow(abs(every - np.round(every)), cmap="Oranges", vmin=0, vmax=0.6, aspect="auto")
    for (i, j), value in np.ndenumerate(every):
        if np.isfinite(value):
            text = f"{round(value)}" if abs(value - round(value)) < 0.005 else f"{value:.2f}"
            ax.text(j, i, text, ha="center", va="center", color="black")
    ax.set(xticks=range(n + d + 1), xticklabels=[*STATES[:n], *symbols(d), "bias"], title=title)
    ax.set(yticks=range(n + len(V)), yticklabels=[*(f"next {k}" for k in STATES[:n]), *["y"] * len(V)])
    ax.grid(False)
    return fig


def draw_stage(road: Distilled, stage, title):
    """`draw_weights` of one stage of the paper's road, or of the observer form."""
    net = observer(road.stages["trained"]) if stage == "observer form" else road.stages[stage]
    return draw_weights(net, f"{title}: {stage}")


def draw_forms(networks: dict, kinds: dict):
    """Left: eigenvalues of W of some trained networks. Right: share of whole entries of {form: {task: network}}."""
    fig, (left, right) = figure(1, 2, height=3.4)
    for (name, net), color in zip(networks.items(), (RED, OCHRE, BLUE, GREEN, PINK), strict=False):
        values = np.linalg.eigvals(net.weights[0])
        left.plot(values.real, values.imag, "o", color=color, alpha=0.7, label=name)
    turn = np.linspace(0, 2 * np.pi, 100)
    left.plot(np.cos(turn), np.sin(turn), color=GREY, lw=0.8)
    left.set(xlabel="real part", ylabel="imaginary part", title="eigenvalues of W, trained", aspect="equal")
    if networks:
        left.legend(fontsize=7, loc="lower center")
    for (form, nets), color, mark in zip(kinds.items(), (RED, OCHRE, BLUE), "osv", strict=False):
        right.plot([100 * integer_share(net) for net in nets.values()], mark, color=color, ls="", alpha=0.8, label=form)
    right.set(xlabel="task, in the order of the list", ylabel="whole entries (%)", ylim=(0, 150), yticks=range(0, 101, 25))
    right.legend(fontsize=7, loc="upper center")
    return fig


def draw_board(studies: dict[str, Study]):
    """One line a task: the paper and GPT-4 as published, then this build's two roads, examples alone, and our program."""
    fig, ax = figure(width=7.2, height=0.8 + 0.155 * len(studies))
    for i, (name, study) in enumerate(studies.items()):
        known = scoreboard.PUBLISHED[name]
        hits = (known.mips, known.gpt, known.gpt_right, study.by_lattice, study.by_behaviour, study.alone)
        for j, hit in enumerate(hits):
            color = GREY if j < 3 else BLUE
            ax.plot(j, i, "s", ms=6, color=color, fillstyle="full" if hit else "none", mew=0.6)
        if study.row.kind in KINDS:
            ax.plot(6, i, "s", ms=6, color=KINDS[study.row.kind])
            ax.text(6.6, i, study.row.kind + (", proved" if study.row.proved else ""), va="center", fontsize=7.5)
    heads = ("MIPS", "GPT-4", "GPT-4, retested", "lattice, here", "behaviour, same net", "examples alone", "our road")
    ax.set(xticks=range(7), xticklabels=heads, xlim=(-0.5, 8), yticks=range(len(studies)), yticklabels=list(studies))
    ax.set_ylim(-0.8, len(studies) - 0.2)
    ax.tick_params(labelsize=7.5)
    ax.tick_params(axis="x", labelrotation=90)
    ax.xaxis.tick_top()
    ax.invert_yaxis()
    ax.grid(False)
    return fig


def draw_contradictions(tables: dict, studies: dict[str, Study]):
    """Keys with more than one value, {task: ((of transitions, keys), (of outputs, keys))}, with the program found."""
    fig, ax = figure(height=0.9 + 0.2 * len(tables))
    for i, (name, counted) in enumerate(tables.items()):
        for k, color in ((0, BLUE), (1, OCHRE)):
            label = ("transitions", "outputs")[k] if not i else None
            ax.barh(i + 0.2 - 0.4 * k, 100 * counted[k][0] / counted[k][1], 0.36, color=color, label=label)
        program = studies[name].road.program
        ax.text(102, i, program.kind if program else "no program", va="center", fontsize=7.5)
    ax.set(yticks=range(len(tables)), yticklabels=list(tables), xlim=(0, 130), xticks=[0, 25, 50, 75, 100])
    ax.set(xlabel="keys with contradictions (%)")
    ax.margins(y=0.01)
    ax.tick_params(axis="y", labelsize=7)
    ax.grid(False, axis="y")
    ax.invert_yaxis()
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
    return fig


def draw_film(film, frame, x, carry):
    """Left: hidden states of the network at a frame, by carry (N, T). Right: how the measures went over training.

    `film` holds (step, network, share of wrong answers, behaviours, share of contradictory keys).
    """
    fig, (left, right) = figure(1, 2, height=3.4)
    steps, nets, errors, behaviours, torn = zip(*film, strict=True)
    h = nets[frame].states(x[:80]).reshape(-1, 2)
    for value, color in ((0, BLUE), (1, RED)):
        points = h[carry[:80].ravel() == value]
        left.scatter(*points.T, s=5, color=color, alpha=0.5, label=("no carry", "carry")[value], rasterized=True)
    left.set(xlabel="first hidden unit", ylabel="second hidden unit", title=f"hidden states after {steps[frame]} updates")
    left.legend()
    right.loglog(steps, behaviours, "o-", color=GREEN, label="behaviours, 200 at most")
    right.loglog(steps, [max(100 * e, 0.05) for e in errors], "s-", color=GREY, label="wrong answers, %")
    right.loglog(steps, [max(100 * s, 0.05) for s in torn], "^-", color=OCHRE, label="lattice contradictions, %")
    right.axvline(steps[frame], color=RED, lw=1)
    right.set(xlabel="updates", ylim=(0.03, 3000), title="over training (0 % drawn at 0.05)")
    right.legend(loc="upper right", fontsize=7.5)
    return fig
