"""What the games share: how they are drawn, checked and varied, and the equilibria of any small game."""

import math
from dataclasses import fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...checks import check
from ...kernels.tensors import check_tensor

CHANCE = (0, 1)
POSITIVE = (1e-12, math.inf)
NEVER_NEGATIVE = (0, math.inf)


def check_fields(games: object, ranges: dict[str, tuple[float, float]]) -> None:
    """Check a dataclass of tensors: one row a game, every value in its range.

    Raises:
        ValueError: naming the field, what it is and what was expected.
    """
    count = len(getattr(games, fields(games)[0].name))
    for field in fields(games):
        value, (low, high) = check_tensor(field.name, getattr(games, field.name)), ranges[field.name]
        if value.min() < low or value.max() > high or len(value) != count:
            raise ValueError(
                f"{field.name} = tensor of shape {tuple(value.shape)} from {value.min():.4g} to {value.max():.4g}: "
                f"expected {count} games, values in [{low:g}, {high:g}]"
            )


def uniform(
    boxes: dict[str, tuple], shape: int | tuple[int, ...], seed: int, device: str = "cpu"
) -> dict[str, Float[Tensor, "..."]]:
    """A tensor of this shape for each name, uniform between its two bounds (numbers, or tensors that broadcast to `shape`).

    Drawn on the CPU, so that every device plays the same games.
    """
    check("seed", seed, int, low=0)
    rng = torch.Generator().manual_seed(seed)
    return {
        name: (low + (high - low) * torch.rand(shape, generator=rng, dtype=torch.float64)).to(device)
        for name, (low, high) in boxes.items()
    }


def narrower(boxes: dict[str, tuple[float, float]], worlds: int, games: int, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Random worlds: each is a narrower set of boxes, of every box the part between two uniform draws.

    Returns:
        for each name the two bounds, (worlds * games, 1), each world's repeated for its `games` games: boxes for `uniform`.
    """
    check("worlds", worlds, int, low=1)
    check("games", games, int, low=1)
    ends = uniform(boxes, (worlds, 2), seed)
    bounds = {name: end.sort(1).values.repeat_interleave(games, 0) for name, end in ends.items()}
    return {name: (end[:, :1], end[:, 1:]) for name, end in bounds.items()}


def agreement(unity: Float[Tensor, " games"], prevail: Float[Tensor, " games"], worlds: int) -> Int[Tensor, " worlds"]:
    """How a prediction fares in each world, from the change that it makes in each game, the games of a world side by side.

    Returns:
        1 if both unity and the chance to prevail rise on average, -1 if not, 0 if unity changes in no game.
    """
    unity, prevail = unity.view(worlds, -1), prevail.view(worlds, -1)
    both = (unity.mean(1) > 0) & (prevail.mean(1) > 0)
    return torch.where((unity != 0).any(1), torch.where(both, 1, -1), 0)


WEAKER = 0.7  # strength of a threat that is believed 30 % weaker, over its true strength


def halfway(chance: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Half-way from a chance, belief or discount factor to 1."""
    return (1 + chance) / 2


def pure_equilibria(payoffs: Float[Tensor, "games players *actions"]) -> Bool[Tensor, "games *actions"]:  # noqa: F821
    """All pure Nash equilibria of a batch of games in normal form, by enumeration: nobody gains by changing alone.

    Args:
        payoffs: what player i gets when player j plays its action number sj, at [game, i, s1, …, sn].

    Raises:
        ValueError: if the shape is not that of n players with an action axis each.
    """
    check_tensor("payoffs", payoffs)
    if payoffs.dim() < 3 or payoffs.dim() != payoffs.shape[1] + 2:
        raise ValueError(f"payoffs = tensor of shape {tuple(payoffs.shape)}: expected (games, n, then n action axes)")
    players = enumerate(payoffs.unbind(1), start=1)
    return torch.stack([mine >= mine.amax(axis, keepdim=True) for axis, mine in players]).all(0)
