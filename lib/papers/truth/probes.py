"""Linear probes for a whole stack of data sets at once: mass-mean, logistic regression, CCS and Fisher's discriminant.

All take states X (sets, rows, width), float32, centred for each set, and labels y (rows,) bool or (sets, rows), and give
directions (sets, width): the probe says "true" where the state's product with the direction is positive. No probe has a
bias, as in Marks and Tegmark (arXiv:2310.06824).
"""

import torch

from ...checks import check
from ...kernels.tensors import check_tensor


def _signs(X, y):
    check_tensor("X", X, 3)
    y = torch.as_tensor(y, device=X.device).expand(X.shape[:2])
    if not bool((y.any(1) & ~y.all(1)).all()):
        raise ValueError(f"y = {y.float().mean(1).tolist()} true: expected true and false rows in each set")
    return torch.where(y, 1.0, -1.0)


def mass_mean(X, y):
    """Mean of the true rows minus mean of the false rows."""
    signs = _signs(X, y)
    up, down = (signs > 0).to(X.dtype), (signs < 0).to(X.dtype)
    return torch.einsum("gnd,gn->gd", X, up / up.sum(1, keepdim=True) - down / down.sum(1, keepdim=True))


def fisher(X, y):
    """Fisher's discriminant: the pseudo-inverse of the within-class covariance times the mass-mean direction.

    As the authors compute it: eigenvalues below 1e-3 count as zero.
    """
    signs, theta = _signs(X, y), mass_mean(X, y)
    classes = torch.stack([signs > 0, signs < 0], -1).to(X.dtype)
    means = torch.einsum("gnd,gnc->gcd", X, classes) / classes.sum(1)[..., None]
    rest = X - torch.einsum("gnc,gcd->gnd", classes, means)
    covariance = rest.transpose(1, 2) @ rest / X.shape[1]
    return (torch.linalg.pinv(covariance, hermitian=True, atol=1e-3) @ theta[..., None])[..., 0]


def logistic(X, y, seed=0):
    """Logistic regression as the authors fit it: 1000 full steps of AdamW, rate 1e-3, decay 0.1, from PyTorch's start.

    It has not converged then, and the result depends on the scale of the states.
    """
    signs = _signs(X, y)
    start = torch.rand(X.shape[2], generator=torch.Generator().manual_seed(seed)) * 2 - 1
    w = (start * X.shape[2] ** -0.5).to(X).repeat(len(X), 1).requires_grad_()
    optimiser = torch.optim.AdamW([w], 1e-3, weight_decay=0.1)
    for _ in range(1000):
        p = torch.sigmoid(-signs * torch.einsum("gnd,gd->gn", X, w.detach()))  # of the wrong label
        w.grad = -torch.einsum("gnd,gn->gd", X, signs * p) / X.shape[1]
        optimiser.step()
    return w.detach()


def converged(X, y, penalty=1e-2, iterations=12):
    """Logistic regression by Newton's method, with `penalty`/2 times the squared weights added to the mean loss.

    States are first divided by their set's root mean square, so that the penalty means the same at every block. The best
    weights lie in the span of the rows, so with fewer rows than dimensions the problem is solved there.
    """
    signs = _signs(X, y)
    size = X.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    Z, basis = X / size, None
    if X.shape[1] < X.shape[2]:
        basis = torch.linalg.qr(Z.transpose(1, 2))[0]
        Z = Z @ basis
    w = torch.zeros(len(Z), Z.shape[2], dtype=X.dtype, device=X.device)
    eye = torch.eye(Z.shape[2], dtype=X.dtype, device=X.device)
    for _ in range(iterations):
        p = torch.sigmoid(-signs * torch.einsum("gnd,gd->gn", Z, w))  # of the wrong label
        gradient = penalty * w - torch.einsum("gnd,gn->gd", Z, signs * p) / Z.shape[1]
        curvature = (Z * (p * (1 - p))[..., None]).transpose(1, 2) @ Z / Z.shape[1] + penalty * eye
        w = w - torch.linalg.solve(curvature, gradient[..., None])[..., 0]
    return w if basis is None else (basis @ w[..., None])[..., 0]


def ccs(X, opposite, y, restarts=8, steps=300, rate=1e-2, decay=0.1, seed=0):
    """Contrast-consistent search (Burns et al., arXiv:2212.03827): no labels, but each row's negation.

    Minimises the mean of (p(x) + p(x̄) - 1)² + min(p(x), p(x̄))² by AdamW from several random starts, and keeps the best; all
    starts of all sets are one tensor. The labels `y` of X fix the sign alone.

    Args:
        X, opposite: states of statements and of their opposites, row by row, each (sets, rows, width).
        restarts, steps, rate, decay, seed: of the search (the authors take one start, 1000 steps, rate 1e-3).
    """
    check("restarts", restarts, int, low=1)
    signs = _signs(X, y)
    size = X.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    a, b = X / size, opposite / size
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(len(X), X.shape[2], restarts, generator=generator).to(X) * X.shape[2] ** -0.5
    w.requires_grad_()
    optimiser = torch.optim.AdamW([w], rate, weight_decay=decay)
    for _ in range(steps):
        p, q = torch.sigmoid(a @ w), torch.sigmoid(b @ w)
        losses = ((p + q - 1).square() + torch.minimum(p, q).square()).mean(1)
        optimiser.zero_grad()
        losses.sum().backward()
        optimiser.step()
    w = w.detach()[torch.arange(len(w)), :, losses.argmin(1)]
    agree = (torch.einsum("gnd,gd->gn", a - b, w) * signs).mean(1)
    return w * torch.where(agree < 0, -1.0, 1.0)[:, None]
