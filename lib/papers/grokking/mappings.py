"""Linear mapping numbers: how many different linear maps a network is, as seen by given points.

A map `f` takes points as rows, (S, K, d), to outputs (S, K, o), one map for each of S members. A *pair* is two of a
member's N points; its *linearity* says how straight f's image of the segment between them is.
"""

import numpy as np
import torch

from ...checks import check
from ...kernels.tensors import check_tensor

GRID = 21  # points λ = 0, 1/20, …, 1 on a segment (the paper, Section 2)


def gauss_rule(order=6, grid=GRID):
    """The Gauss rule of the uniform measure on `grid` evenly spaced points of [0, 1].

    With `order` nodes it averages polynomials up to degree 2·order - 1 over the grid exactly (Golub and Welsch 1969), so
    r² of a polynomial curve of degree order - 1 is that of the whole grid.

    Returns:
        nodes (order,) and T (order, order), float64. T @ (values at the nodes) are the values' coefficients in the
        polynomials p_0, p_1, … orthonormal on the grid. As p_1 is linear, r²(y, λ) = a_1² / (a_1² + a_2² + …), a = T @ y.

    Raises:
        ValueError: unless 2 <= order <= grid.
    """
    check("grid", grid, int, low=2)
    check("order", order, int, low=2, high=grid)
    lam = torch.linspace(0, 1, grid, dtype=torch.float64)
    powers = np.polynomial.chebyshev.chebvander(2 * lam.numpy() - 1, order - 1)
    p = torch.linalg.qr(torch.from_numpy(powers)).Q
    nodes, vectors = torch.linalg.eigh(p.T @ (lam[:, None] * p))  # the Jacobi matrix of the measure
    return nodes, vectors * vectors[0]


def linearity(f, x, pairs=None, *, order=6, block=512, floor=1e-10):
    """r² between f along the segment from point i to point j and the position λ on it, averaged over f's outputs.

    Blocked: at most `block` pairs exist at a time, whatever N. Runs where `x` lives; differentiable.

    Args:
        f: map of points (S, K, d) to outputs (S, K, o).
        x: points (S, N, d).
        pairs: int64 (2, K) on x's device; None for all i < j, ordered as by `torch.triu_indices(N, N, 1)`.
        order: nodes of the Gauss rule.
        block: pairs at a time.
        floor: an output that varies less than this along a segment (variance) is constant, with r² = 1.

    Returns:
        (S, K) in x's dtype. Source: the paper, Section 2; the Gauss rule in place of its 21 points is this chapter's own.

    Raises:
        ValueError: for a bad argument.
    """
    check_tensor("x", x, 3)
    check("block", block, int, low=1)
    if pairs is None:
        pairs = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
    if pairs.dim() != 2 or len(pairs) != 2 or pairs.numel() == 0:
        raise ValueError(f"pairs = tensor of shape {tuple(pairs.shape)}: expected (2, K) with K ≥ 1")
    nodes, transform = (t.to(x) for t in gauss_rule(order))
    members, count, _ = x.shape
    rows = torch.arange(members, device=x.device).unsqueeze(1) * count  # where each member's points begin
    values = []
    for i, j in pairs.split(block, 1):
        start, end = (x.flatten(0, 1).index_select(0, (rows + k).flatten()).unflatten(0, (members, 1, -1)) for k in (i, j))
        segment = torch.lerp(start, end, nodes[:, None, None])  # (S, order, B, d)
        y = f(segment.flatten(1, 2)).mT.unflatten(2, (order, -1))  # (S, o, order, B)
        power = (transform[1:] @ y).square()
        total = power.sum(2)
        values.append(torch.where(total > floor, power[:, :, 0] / total.clamp_min(floor), 1.0).mean(1))
    return torch.cat(values, 1)


def linearity_plain(f, x):
    """The paper's definition word for word, one member, a Python loop over pairs on 21 points: (N, N), float64."""
    lam = torch.linspace(0, 1, GRID, dtype=x.dtype)
    L = torch.eye(x.shape[1], dtype=torch.float64)
    for i in range(x.shape[1]):
        for j in range(i):
            y = f((x[0, i] + lam[:, None] * (x[0, j] - x[0, i]))[None])[0]
            r = np.corrcoef(y.T.numpy(), lam.numpy())[-1, :-1]
            L[i, j] = L[j, i] = float(np.square(r).mean())
    return L


def matrix(values, points):
    """The symmetric matrices L (S, points, points), float64 with unit diagonal, from the pairs' values (S, K)."""
    i, j = torch.triu_indices(points, points, 1, device=values.device)
    L = torch.eye(points, dtype=torch.float64, device=values.device).repeat(len(values), 1, 1)
    L[:, i, j] = L[:, j, i] = values.double()
    return L


def effective_number(eigenvalues):
    """2 to the entropy in bits of the shares |ev| / Σ|ev|, over the last axis: how many eigenvalues matter."""
    shares = eigenvalues.abs() / eigenvalues.abs().sum(-1, keepdim=True)
    return torch.exp2(-torch.xlogy(shares, shares).sum(-1) / np.log(2))


def lmn(L):
    """The linear mapping number of L (…, N, N), negative eigenvalues by their absolute value (the paper, Section 2)."""
    return effective_number(torch.linalg.eigvalsh(L))


def renyi2(L):
    """(tr L)² / Σ L_ij², the same count by the collision entropy and without eigenvalues; the chapter's own."""
    return L.diagonal(dim1=-2, dim2=-1).sum(-1).square() / L.square().sum((-2, -1))


def nonlinearity(L):
    """1 - mean L_ij over pairs, of L (…, N, N); the chapter's own."""
    count = L.shape[-1]
    return (count**2 - L.sum((-2, -1))) / (count * (count - 1))


def estimate(f, x, pairs, seed=0):
    """Mean nonlinearity and the collision count from random pairs, with standard errors: (4, S), float64.

    Args:
        f, x: as for `linearity`.
        pairs: how many of the N(N-1)/2 pairs to draw, with replacement.
        seed: of the draw.

    Returns:
        ε = 1 - mean L_ij, its standard error, N² / Σ L_ij² and its standard error (by the delta method).

    Raises:
        ValueError: for a bad argument.
    """
    check("pairs", pairs, int, low=2)
    check_tensor("x", x, 3)
    points = x.shape[1]
    generator = torch.Generator().manual_seed(seed)
    i = torch.randint(points, (pairs,), generator=generator)
    j = (i + torch.randint(1, points, (pairs,), generator=generator)) % points
    values = linearity(f, x, torch.stack([i, j]).to(x.device)).double()
    off, number = 1 - 1 / points, points / (1 + (points - 1) * values.square().mean(1))
    errors = torch.stack([values.std(1), number.square() * off * values.square().std(1)]) / pairs**0.5
    return torch.stack([1 - values.mean(1), errors[0], number, errors[1]])


def silu_slope(z):
    """The derivative of silu(z) = z / (1 + e^-z)."""
    sigmoid = torch.sigmoid(z)
    return sigmoid * (1 + z * (1 - sigmoid))


def jacobian_features(z, W2, W3):
    """Features whose inner products are the cosines between Jacobians at two points, (S, N, h), float64.

    The tail is f(h) = W3 silu(z) with z = W2 h + b2, so J_i = W3 diag(s_i) W2 with s_i = silu'(z_i), and
    <J_i, J_j> = s_iᵀ M s_j with M = (W2 W2ᵀ) ∘ (W3ᵀ W3), which is positive semidefinite (Schur). The features are
    M^½ s_i at unit length; no Jacobian is formed. The chapter's own.

    Args:
        z: pre-activations (S, N, h). W2: (S, h, d). W3: (S, o, h).
    """
    z, W2, W3 = (check_tensor(name, t, 3).double() for name, t in (("z", z), ("W2", W2), ("W3", W3)))
    ev, vectors = torch.linalg.eigh((W2 @ W2.mT) * (W3.mT @ W3))
    features = silu_slope(z) @ (vectors * ev.clamp_min(0).sqrt().unsqueeze(1))
    return features / features.norm(dim=2, keepdim=True)


def jacobian_lmn(z, W2, W3):
    """The linear mapping number with cosines between Jacobians in place of L, (S,); linear in N. See `jacobian_features`."""
    F = jacobian_features(z, W2, W3)
    return effective_number(torch.linalg.eigvalsh(F.mT @ F))
