"""Exclusive or as the paper trains it, which takes too long for a page: five networks, recorded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .model import History, Setting, follow, grok, points

SETTING = Setting(
    seeds=[0, 1, 2, 3, 4],
    steps=20000,
    at=[round(20000 * (k / 36) ** 2) for k in range(37)],
    dtype=torch.float64,  # late in so long a run single precision makes networks drift
)
RECORD = Path(__file__).with_name("xor.npz")


def run(progress: Callable = iter) -> dict[str, np.ndarray]:
    """Train the five networks and follow them on all inputs, about eight CPU-minutes: arrays (T, S, …) for `RECORD`."""
    history = grok("xor", replace(SETTING, progress=progress))
    found = follow(history, progress=progress)
    found["ρ"] = torch.stack([pattern_distances(history.networks(step)) for step in history.steps.tolist()])
    found |= {name: getattr(history, name) for name in ("steps", "losses", "accuracies", "norms")}
    return {name: values.numpy() for name, values in found.items()}


def recorded() -> tuple[History, dict[str, Tensor]]:
    """What `run` gave when it was recorded: a `History` without parameters, and its curves (T, S, …)."""
    with np.load(RECORD) as stored:
        found = {name: torch.from_numpy(stored[name]) for name in stored.files}
    own = {name: found.pop(name) for name in ("steps", "losses", "accuracies", "norms")}
    return History(parameters={}, **own), found


def turning_points(history: History, values: Float[Tensor, "records members"]) -> tuple[Int[Tensor, " members"], ...]:
    """Records of the lowest of `values` (T, S) after each member has generalised, and of the highest after that."""
    steps = history.steps[:, None]
    low = values.where(steps >= history.generalised, torch.inf).argmin(0)
    return low, values.where(steps >= history.steps[low], -torch.inf).argmax(0)


@torch.no_grad()
def pattern_distances(p: dict) -> Float[Tensor, "members 2"]:
    """How far apart a network for exclusive or holds bit patterns that have the same answer: two ratios, (S, 2).

    Turning bit k of both operands around swaps (0,1) with (1,0), or (0,0) with (1,1), and keeps the answer. The ratios are
    root mean square distances at what enters the second hidden layer, over those of inputs with one operand's bit turned
    around, which changes the answer: first for (0,1) and (1,0), then for (0,0) and (1,1).
    """
    z, tokens = points(p, 1).double(), p["E"].shape[1]
    a, b = torch.arange(tokens**2) // tokens, torch.arange(tokens**2) % tokens
    unlike, like, turned = [], [], []
    for k in range(tokens.bit_length() - 1):
        both, one = (a ^ 1 << k) * tokens + (b ^ 1 << k), ((a ^ 1 << k) * tokens + b, a * tokens + (b ^ 1 << k))
        differ = (a ^ b) >> k & 1 == 1
        distance = (z[:, both] - z).square().sum(2)
        unlike.append(distance[:, differ]), like.append(distance[:, ~differ])
        turned += [(z[:, other] - z).square().sum(2) for other in one]
    scale = torch.cat(turned, 1).mean(1)
    return torch.stack([(torch.cat(d, 1).mean(1) / scale).sqrt() for d in (unlike, like)], 1)
