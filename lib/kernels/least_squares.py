"""Batched Levenberg-Marquardt: every member its own damping, all normal equations solved together."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacrev, vmap

from ..checks import check
from .tensors import check_tensor

DAMPING = 1e-2  # at first, relative to the diagonal of J^T J
MOVE = 1e-7  # of one parameter, for a Jacobian by differences
TOGETHER = 64  # parameters moved at once


def by_autograd(residuals: Callable[[Tensor], Tensor], theta: Float[Tensor, "members p"]) -> Float[Tensor, "members P p"]:
    """Jacobians of `residuals`, a function of one member's parameters (p,) giving its residuals (P,)."""
    return vmap(jacrev(residuals))(theta)


def by_differences(residuals: Callable[[Tensor], Tensor], theta: Float[Tensor, "members p"]) -> Float[Tensor, "members P p"]:
    """As `by_autograd`, from one-sided differences; cheaper where residuals are many more than parameters. For float64."""
    r, moves = vmap(residuals)(theta), MOVE * torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
    moved = [vmap(vmap(residuals))(theta[:, None] + part) for part in moves.split(TOGETHER)]
    return ((torch.cat(moved, 1) - r[:, None]) / MOVE).mT


def levenberg_marquardt(
    residuals: Callable[[Tensor], Tensor],
    theta: Float[Tensor, "members p"],
    iterations: int = 100,
    *,
    jacobian: Callable[[Callable, Tensor], Tensor] = by_autograd,
    least: float = 0.0,
) -> tuple[Float[Tensor, "members p"], Float[Tensor, " members"]]:
    """Minimise the sum of squared residuals of every member (Levenberg 1944, Marquardt 1963).

    Args:
        residuals: function of one member's parameters (p,) giving its residuals (P,), traceable by `torch.func`.
        theta: starting parameters; float64 is advised.
        iterations: steps tried, at most; a step that does not lower the sum is undone and the damping raised.
        jacobian: `by_autograd` or `by_differences`.
        least: a member rests once a step has lowered its sum by no more than this share of it.

    Returns:
        The parameters and the sums of squares. No sum is ever larger than at the start.

    Raises:
        ValueError: for a bad argument.
    """
    check("iterations", iterations, int, low=1)
    check("least", least, float, low=0, high=1)
    theta = check_tensor("theta", theta, 2).clone()
    tiny = torch.finfo(theta.dtype).tiny
    cost = vmap(residuals)(theta).square().sum(1)
    lam, better = torch.full_like(cost, DAMPING), torch.ones_like(cost, dtype=torch.bool)
    resting = torch.zeros_like(better)
    for _ in range(iterations):
        if bool(better.any()):
            J, r = jacobian(residuals, theta), vmap(residuals)(theta)
            normal, slope = J.mT @ J, J.mT @ r[:, :, None]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        floor = diagonal.amax(1, keepdim=True).clamp_min(tiny) * 1e-12  # a dead direction still gets some damping
        damped = normal + torch.diag_embed(lam[:, None] * torch.maximum(diagonal, floor))
        move, info = torch.linalg.solve_ex(damped, slope)
        trial = theta - move[:, :, 0]
        trial_cost = vmap(residuals)(trial).square().sum(1)
        better = (trial_cost < cost) & (info == 0) & ~resting
        resting |= better & (cost - trial_cost <= least * cost)
        theta = torch.where(better[:, None], trial, theta)
        cost = torch.where(better, trial_cost, cost)
        lam = torch.where(better, lam / 3, lam * 4).clamp(1e-12, 1e12)
        if bool(resting.all()):
            break
    return theta, cost
