"""Batched Levenberg-Marquardt: every member its own damping, all normal equations solved together."""

import torch
from torch.func import jacrev, vmap

from ..checks import check
from .tensors import check_tensor


def levenberg_marquardt(residuals, theta, iterations=100, *, damping=1e-2, progress=iter):
    """Minimise the sum of squared residuals of every member (Levenberg 1944, Marquardt 1963).

    Args:
        residuals: function of one member's parameters (p,) giving its residuals (P,), traceable by `torch.func`.
        theta: starting parameters, (members, p), floating; float64 is advised.
        iterations: steps tried; a step that does not lower the sum is undone and the damping raised.
        damping: initial damping, relative to the diagonal of J^T J.
        progress: a wrapper for the iterable of iterations.

    Returns:
        parameters (members, p) and sums of squares (members,). No sum is ever larger than at the start.

    Raises:
        ValueError: for a bad argument.
    """
    check("iterations", iterations, int, low=1)
    check("damping", damping, float, above=0)
    theta = check_tensor("theta", theta, 2).clone()
    tiny = torch.finfo(theta.dtype).tiny
    jacobian = vmap(jacrev(residuals))
    cost = vmap(residuals)(theta).square().sum(1)
    lam = torch.full_like(cost, damping)
    for _ in progress(range(iterations)):
        J, r = jacobian(theta), vmap(residuals)(theta)
        normal = J.mT @ J
        diagonal = normal.diagonal(dim1=1, dim2=2)
        floor = diagonal.amax(1, keepdim=True).clamp_min(tiny) * 1e-12  # a dead direction still gets some damping
        damped = normal + torch.diag_embed(lam[:, None] * torch.maximum(diagonal, floor))
        move, info = torch.linalg.solve_ex(damped, (J.mT @ r[:, :, None]))
        trial = theta - move[:, :, 0]
        trial_cost = vmap(residuals)(trial).square().sum(1)
        better = (trial_cost < cost) & (info == 0)
        theta = torch.where(better[:, None], trial, theta)
        cost = torch.where(better, trial_cost, cost)
        lam = torch.where(better, lam / 3, lam * 4).clamp(1e-12, 1e12)
    return theta, cost
