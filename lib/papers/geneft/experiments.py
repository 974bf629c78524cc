"""Sets of networks that differ in one thing: the ratio of the rates, the depth, the kind of decoder."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch

from ...kernels.optimisers import SGD
from .autoencoder import students, train_graph_autoencoder
from .statics import RELATIONS

MOD3, _, GREATER, _ = RELATIONS
IDEAL = {MOD3: ("squared difference", 2), GREATER: ("difference", 1)}  # what ideal decoders read, and the points' dimension


@dataclass(frozen=True)
class Setting:
    """What all sets share: the `seeds` of their networks, the `device`, and `progress`, which makes a wrapper of a label."""

    seeds: range
    device: str = "cpu"
    progress: Callable = lambda label: iter


def columns(*axes):
    """All combinations of the axes' values, the last running fastest, as one tuple an axis."""
    return tuple(zip(*product(*axes), strict=True))


def powers(logs):
    """Ten to the power of each of some numbers, float64."""
    return 10 ** torch.tensor(logs, dtype=torch.float64)


def at_ratios(log_ratios, setting, steps, *, spread=0.5, stop=None):
    """Networks under plain gradient descent that see half of "equal modulo 3", at several ratios of the rates.

    Args:
        log_ratios: log10 of decoder rate over encoder rate.
        setting: a `Setting`.
        steps: updates at decoder rate 1.
        spread: standard deviation of the points at the start.
        stop: see `train_graph_autoencoder`.

    Returns:
        the networks at the start, and their `Training`, seeds running fastest.
    """
    ratio, which = columns(log_ratios, setting.seeds)
    fresh = students([MOD3] * len(ratio), [0.5] * len(ratio), which, widths=20, spread=spread, device=setting.device)
    run = train_graph_autoencoder(
        fresh, 1 / powers(ratio), 1.0, steps, optimiser=SGD, every=max(1, steps // 40), stop=stop,
        progress=setting.progress(f"spread {spread}"),
    )  # fmt: skip
    return fresh, run


def generalizes(run, seeds, level=0.9):
    """Whether each network of `at_ratios` ever passed `level` on unseen pairs, (seeds, ratios) bool."""
    return level < run.accuracies[:, 1].amax(0).view(-1, seeds).T


def at_depths(depths, setting, steps, rate):
    """Accuracy on unseen pairs, (depths, seeds), of decoders with ten units a layer that see 30 % of "equal modulo 3"."""
    found = []
    for depth in depths:
        many = [MOD3] * len(setting.seeds), [0.3] * len(setting.seeds)
        fresh = students(*many, setting.seeds, widths=10, depth=depth, device=setting.device)
        label = setting.progress(f"depth {depth}")
        found.append(train_graph_autoencoder(fresh, rate, rate, steps, every=100, stop=0.99, progress=label).unseen)
    return torch.stack(found)


def ideal(name, fractions, setting, steps, rate):
    """Accuracy on unseen pairs, (fractions, seeds), of a logistic function of what `IDEAL` says for the relation `name`."""
    mode, dim = IDEAL[name]
    where, which = columns(fractions, setting.seeds)
    fresh = students([name] * len(where), where, which, mode=mode, depth=0, dim=dim, device=setting.device)
    run = train_graph_autoencoder(fresh, rate, rate, steps, every=steps, progress=setting.progress("ideal"))
    return run.unseen.view(-1, len(setting.seeds))
