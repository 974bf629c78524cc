"""Drawings of the chapter on truth."""

import textwrap

import torch

from ..papers.truth import principal, world
from ..reading import BLUE, GREEN, INK, OCHRE, PALETTE, PINK, RED, figure

LLAMA = torch.tensor(
    [[99, 99, 75, 96, 99, 98, 51, 49], [0, 97, 44, 52, 45, 98, 52, 48], [84, 90, 66, 79, 95, 56, 19, 92],
     [12, 76, 23, 79, 8, 86, 73, 18], [73, 69, 100, 100, 51, 49, 100, 98], [42, 57, 0, 99, 50, 50, 50, 98],
     [90, 80, 65, 82, 55, 52, 51, 50], [87, 54, 59, 65, 56, 49, 51, 53]]
)  # fmt: skip
# per cent, LLaMA-2-7B, from a picture in the authors' repository: rows are types, columns logistic, then mass-mean, fitted
# on cities, with negations, larger, with smaller; in the WHITENED cells their mass-mean has the inverse covariance before it
WHITENED = {(0, 4), (0, 5), (1, 5), (4, 6), (4, 7), (5, 7)}
CURVES = {
    "cities": (0.683, 0.777, 0.765),
    "cities + negations": (0.68, 0.851, 0.863),
    "larger": (0.562, 0.790, 0.814),
    "larger + smaller": (0.709, 0.814, 0.853),
}  # mean accuracy of logistic probes on the other families, LLaMA-2 of 7, 13 and 70 billion parameters, read off (±0.005)
SHORT = {"cities": "c", "cities + negations": "c+n", "larger": "l", "larger + smaller": "l+s"}


def _write(ax, values, form, dark):
    """Numbers in the cells of an image; `dark` says where the ground is dark."""
    for (i, j), value in zip(torch.cartesian_prod(*map(torch.arange, values.shape)).tolist(), values.flatten(), strict=True):
        color = "white" if dark(value) else "black"
        ax.text(j, i, form(i, j, value), ha="center", va="center", color=color, fontsize=7)
    ax.grid(False)


def patching(effect, tokens, title, every=1):
    """The effect of copying one state, (blocks, tokens), as a map; every `every`th block was measured."""
    shown = effect[::every]
    fig, ax = figure(height=1.1 + 0.25 * len(shown))
    image = ax.imshow(shown, cmap="viridis", vmin=0, vmax=1, aspect="auto", origin="lower")
    _write(ax, shown, lambda _i, _j, v: f"{v:.1f}".replace("-", "−") if v.abs() >= 0.05 else "", lambda v: v < 0.6)
    ax.set(xticks=range(len(tokens)), yticks=range(len(shown)), yticklabels=range(0, len(effect), every))
    ax.set_xticklabels(tokens, rotation=20)
    ax.set(ylabel="after block", title=title)
    fig.colorbar(image, label="share of the effect")
    return fig


def plane(states, labels, names, title, ax=None):
    """Centred states (types, rows, width), true and false by labels (types, rows), in the plane of most variance."""
    at = principal(states.flatten(0, 1))
    at = (at * torch.sign(at[: labels.shape[1]][labels[0]].mean(0))).unflatten(0, labels.shape)
    fig = None
    if ax is None:
        fig, ax = figure(height=3.6, width=6)
    for points, true, name, marker in zip(at, labels, names, "ox", strict=False):
        for side, color in ((True, BLUE), (False, RED)):
            ax.plot(
                *points[true == side].T,
                marker,
                color=color,
                ms=4.5,
                alpha=0.7,
                label=f"{name}, {'true' if side else 'false'}",
            )
    ax.set(xlabel="first direction", ylabel="second direction", title=title)
    ax.legend(fontsize=7.5)
    return fig


def tables(panels, types):
    """Accuracies in per cent, LLaMA-2-7B's beside `panels` {title: (types, 8)}; rows are `types`."""
    fig, axes = figure(1, 1 + len(panels), width=9, height=3.5, sharey=True)
    for ax, (title, values) in zip(axes, {"LLaMA-2-7B (paper)": LLAMA, **panels}.items(), strict=True):
        ax.imshow(values, cmap="PuOr", vmin=0, vmax=100, aspect="auto")
        marked = WHITENED if title.startswith("LLaMA") else ()
        _write(ax, values, lambda i, j, v, m=marked: f"{v:.0f}" + "°" * ((i, j) in m), lambda v: abs(v - 50) > 35)
        ax.set(xticks=range(8), xticklabels=[*SHORT.values()] * 2, title=title, xlabel="logistic      |      mass-mean")
        ax.tick_params(axis="x", labelsize=7)
    axes[0].set(yticks=range(len(types)), yticklabels=types, ylabel="tested on")
    return fig


def answers(names, found, before, every, title):
    """Answers on the false and the true statements `names` (2, n), pushed and before (open), on the scale of `every` one."""
    fig, ax = figure(height=3.8)
    count = len(names[0])
    for side, color, label in ((0, RED, "false, pushed towards true"), (1, BLUE, "true, pushed towards false")):
        places = range(side * count, (side + 1) * count)
        ax.plot(before[side], places, "o", color=color, mfc="none", ms=8)
        ax.plot(found[side], places, "o", color=color, ms=8, label=label)
    edge = 0.1 * float(every.max() - every.min())
    short = [textwrap.fill(n.removeprefix("The city of ").removesuffix("."), 18) for n in (*names[0], *names[1])]
    ax.set(yticks=range(2 * count), yticklabels=short, title=title, ylim=(-0.6, 2 * count + 0.9))
    ax.set(
        xlim=(float(every.min()) - edge, float(every.max()) + edge),
        xlabel="log-probability of “accurate” minus “inaccurate”",
    )
    ax.tick_params(axis="y", labelsize=7.5)
    ax.legend(fontsize=7.5, loc="upper left", ncols=2)
    return fig


def effects(bars, control):
    """Effects of pushes {(fitted on, probe): (as published, at equal length)}, each (2,), and the largest control's."""
    fig, axes = figure(1, 2, width=8.6, height=3.4, sharey=True)
    names = [f"{SHORT[t]}, {p}" for t, p in bars]
    for ax, side, way in zip(axes, (0, 1), ("false → true", "true → false"), strict=True):
        for place, (published, equal) in enumerate(bars.values()):
            ax.bar(place - 0.2, published[side], 0.38, color=BLUE, label="as published" if place == 0 else None)
            ax.bar(place + 0.2, equal[side], 0.38, color=OCHRE, label="at equal length" if place == 0 else None)
        ax.axhline(control[side], color=RED, lw=1.2, ls="--", label="largest control")
        ax.axhline(0, color=INK, lw=0.8)
        ax.set(xticks=range(len(names)), title=way)
        ax.set_xticklabels(names, rotation=30, ha="right", fontsize=7.5)
    axes[0].set_ylabel("NIE")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=7.5)
    return fig


def scale(angles, sizes, curves):
    """Against size: cosines of the directions of cities and of their negations, and accuracies on other families.

    `angles`: {model: (parameters, cosines (n,))}; `curves`: {fitted on: ours, for models of `sizes`}, drawn with LLaMA-2's.
    """
    fig, (left, right) = figure(1, 2, width=8.4, height=3.4)
    for (name, (size, cosines)), color, marker in zip(angles.items(), (OCHRE, BLUE, GREEN), "osD", strict=False):
        left.plot([size] * len(cosines), cosines, marker, color=color, label=name, alpha=0.8)
    left.axhline(0, color=INK, lw=0.8, ls=":")
    left.set(xscale="log", xlim=(5e4, 2e11), ylim=(-1.05, 1.05), xlabel="parameters")
    left.set(title="cities and negations", ylabel="cosine of the two directions")
    left.legend(fontsize=7.5, loc="lower right")
    for (name, theirs), color, marker in zip(CURVES.items(), (BLUE, RED, GREEN, PINK), "osv^", strict=True):
        right.plot([7e9, 13e9, 70e9], theirs, marker + "-", color=color, label=name)
        right.plot(sizes, [float(v) for v in curves[name]], marker, color=color, mfc="none")
    right.axhline(0.5, color=INK, lw=0.8, ls=":")
    right.set(xscale="log", xlabel="parameters", ylabel="accuracy on other families", ylim=(0.3, 1.02))
    right.set(title="full: LLaMA-2, open: ours", xlim=(5e4, 2e11))
    right.legend(title="fitted on", fontsize=7.5, title_fontsize=7.5)
    return fig


def film(histories, simple, step, states, labels):
    """A toy's training until `step`: effects of contexts by type (thin: other toys), and states (2, rows, width) then."""
    fig, (left, right) = figure(1, 2)
    for i, (when, effects) in enumerate(histories):
        for k, color in enumerate(PALETTE if i == 0 else PALETTE[:2]):
            style = {"lw": 1.6, "label": simple[k]} if i == 0 else {"lw": 0.5, "alpha": 0.6}
            left.plot(when, effects[:, k], color=color, **style)
    left.axvline(step, color=INK, lw=0.8, ls=":")
    left.axhline(0, color=INK, lw=0.8)
    left.set(xlabel="updates", ylabel="effect E of a context", ylim=(-1, 1.05), title=f"after {step} updates")
    left.legend(loc="lower right", ncols=2, fontsize=7)
    plane(states, labels, simple, "states at the last word", right)
    return fig


def scene(theta: torch.Tensor) -> dict:
    """What the live scene needs: a toy's parameters (SIZE,) as bytes with scales, its words, and which city is where."""
    home = {city: country for country, cities in world.COUNTRIES.items() for city in cities}
    blocks = torch.nn.functional.pad(theta.cpu().float(), (0, -len(theta) % 64)).view(-1, 64)
    scales = blocks.abs().amax(1) / 127
    numbers = (blocks / scales[:, None]).round() + 128
    return {
        "theta": numbers.to(torch.uint8).flatten().numpy(),
        "scales": scales.numpy(),
        "vocabulary": world.VOCABULARY,
        "home": home,
    }
