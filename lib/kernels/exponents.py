"""Power laws with honest error bars: exponents fitted to medians, resampled over seeds."""

import torch
from jaxtyping import Float, Real
from torch import Tensor

from ..checks import check
from .tensors import check_tensor


def slope(x: Float[Tensor, "*#series cells"], y: Float[Tensor, "*#series cells"]) -> Float[Tensor, "*series"]:
    """Least-squares slopes of y on x; NaN where x does not vary."""
    dx = x - x.mean(-1, keepdim=True)
    return (y * dx).sum(-1) / dx.square().sum(-1)


def exponent(
    sizes: Real[Tensor, " cells"],
    losses: Float[Tensor, "cells seeds"],
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The exponent alpha of median loss ~ size^(-alpha), with a bootstrap interval over seeds.

    Args:
        sizes: positive, at least two different.
        losses: positive.
        draws: resamplings of the seeds, independently for each size.
        level: share of the draws inside the interval.
        seed: of the resampling.

    Returns:
        alpha, low, high.

    Raises:
        ValueError: for a bad argument.
    """
    check("draws", draws, int, low=1)
    check("level", level, float, above=0, high=1)
    losses = check_tensor("losses", losses, 2).double().cpu()
    sizes = check_tensor("sizes", sizes, 1, floating=False).double().cpu()
    if len(sizes) != len(losses) or len(sizes.unique()) < 2 or bool((sizes <= 0).any()):
        raise ValueError(f"sizes = {sizes.tolist()}: expected {len(losses)} positive numbers, two of them different")
    if bool((losses <= 0).any()):
        raise ValueError(f"losses = {losses.min().item()} at least: expected values > 0")
    x = sizes.log()
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(losses.shape[1], (draws, *losses.shape), generator=generator)
    resampled = losses.expand(draws, -1, -1).gather(2, picks).quantile(0.5, 2).log()
    alphas = -slope(x, resampled)
    low, high = alphas.quantile(torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64)).tolist()
    return -slope(x, losses.quantile(0.5, 1).log()).item(), low, high


def power(
    x: Real[Tensor, "cells *seeds"],  # noqa: F821
    y: Real[Tensor, "cells seeds"],
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The exponent alpha of mean y ~ (mean x)^-alpha, with a 95 % bootstrap interval over seeds.

    Args:
        x, y: positive; the seeds of a cell are resampled together in x and y.
        draws, seed: of the resampling.

    Returns:
        alpha, low, high.

    Raises:
        ValueError: for fewer than two cells, unlike shapes, or numbers that are not positive.
    """
    x, y = (torch.as_tensor(t, dtype=torch.float64) for t in (x, y))
    x = x[:, None].expand_as(y) if x.dim() == 1 and len(x) == len(y) else x
    if x.shape != y.shape or y.dim() != 2 or len(y) < 2 or not bool((x > 0).all() and (y > 0).all()):
        raise ValueError(f"x, y = shapes {tuple(x.shape)}, {tuple(y.shape)}: expected positive (K, seeds) with K ≥ 2")
    picks = torch.randint(y.shape[1], (draws, *y.shape), generator=torch.Generator().manual_seed(seed))
    picks[0] = torch.arange(y.shape[1])  # the sample itself comes first
    u, v = (t.expand(draws, -1, -1).gather(2, picks).mean(2).log() for t in (x, y))
    u = u - u.mean(1, keepdim=True)
    alphas = -(u * v).sum(1) / u.square().sum(1)
    low, high = alphas.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return alphas[0].item(), low, high
