"""Power laws with honest error bars: exponents fitted to medians, resampled over seeds."""

import torch

from ..checks import check
from .tensors import check_tensor


def slope(x, y):
    """Least-squares slope of y (…, K) on x (K,), shape (…)."""
    dx = x - x.mean()
    return (y * dx).sum(-1) / dx.square().sum()


def exponent(sizes, losses, draws=1000, level=0.95, seed=0):
    """The exponent alpha of median loss ~ size^(-alpha), with a bootstrap interval over seeds.

    Args:
        sizes: (K,), positive, at least two different.
        losses: (K, seeds), positive.
        draws: resamplings of the seeds, independently for each size.
        level: share of the draws inside the interval.
        seed: of the resampling.

    Returns:
        alpha, low, high as floats.

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
