"""Linear mapping numbers: how many different linear maps a network is, as seen by given points.

A map `f` takes points as rows, (S, K, d), to outputs (S, K, o), one map for each of S members. A *pair* is two of a
member's N points; its *linearity* says how straight f's image of the segment between them is.
"""

import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...checks import check
from ...kernels.tensors import check_tensor

GRID = 21  # points λ = 0, 1/20, …, 1 on a segment (the paper, Section 2)
FLOOR = 1e-10  # an output with less variance than this along a segment is constant there


@cache
def gauss_rule(order: int = 6, grid: int = GRID) -> tuple[Float[Tensor, " order"], Float[Tensor, "order order"]]:
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


def linearity(
    f: Callable, x: Float[Tensor, "members points dim"], pairs: Int[Tensor, "2 pairs"] | None = None,
    *, order: int = 6, block: int = 512,
) -> Float[Tensor, "members pairs"]:  # fmt: skip
    """r² between f along the segment from point i to point j and the position λ on it, averaged over f's outputs.

    Blocked: at most `block` pairs exist at a time, whatever N. Runs where `x` lives; differentiable.

    Args:
        f: map of points (S, K, d) to outputs (S, K, o).
        x: points (S, N, d).
        pairs: int64 (2, K) on x's device; None for all i < j, ordered as by `torch.triu_indices(N, N, 1)`.
        order: nodes of the Gauss rule.
        block: pairs at a time.

    Returns:
        (S, K) in x's dtype; an output that varies less than `FLOOR` along a segment counts as straight, r² = 1. Source:
        the paper, Section 2; the Gauss rule in place of its 21 points is this chapter's own.

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
        segment = torch.addcmul(start, nodes[:, None, None], end - start)  # (S, order, B, d)
        y = f(segment.flatten(1, 2)).mT.unflatten(2, (order, -1))  # (S, o, order, B)
        power = (transform[1:] @ y).square()
        total = power.sum(2)
        values.append(torch.where(total > FLOOR, power[:, :, 0] / total.clamp_min(FLOOR), 1.0).mean(1))
    return torch.cat(values, 1)


def linearity_plain(f: Callable, x: Float[Tensor, "1 points dim"]) -> Float[Tensor, "points points"]:
    """The paper's definition word for word, one member, a Python loop over pairs on 21 points: (N, N), float64."""
    lam = torch.linspace(0, 1, GRID, dtype=x.dtype)
    L = torch.eye(x.shape[1], dtype=torch.float64)
    for i in range(x.shape[1]):
        for j in range(i):
            y = f((x[0, i] + lam[:, None] * (x[0, j] - x[0, i]))[None])[0]
            r = np.corrcoef(y.T.numpy(), lam.numpy())[-1, :-1]
            L[i, j] = L[j, i] = float(np.square(r).mean())
    return L


def matrix(values: Float[Tensor, "members pairs"], points: int) -> Float[Tensor, "members points points"]:
    """The symmetric matrices L (S, points, points), float64 with unit diagonal, from the pairs' values (S, K)."""
    i, j = torch.triu_indices(points, points, 1, device=values.device)
    L = torch.eye(points, dtype=torch.float64, device=values.device).repeat(len(values), 1, 1)
    L[:, i, j] = L[:, j, i] = values.double()
    return L


def effective_number(eigenvalues: Float[Tensor, "*shape points"]) -> Float[Tensor, "*shape"]:
    """2 to the entropy in bits of the shares |ev| / Σ|ev|, over the last axis: how many eigenvalues matter."""
    shares = eigenvalues.abs() / eigenvalues.abs().sum(-1, keepdim=True)
    return torch.exp2(-torch.xlogy(shares, shares).sum(-1) / np.log(2))


def lmn(L: Float[Tensor, "*shape points points"]) -> Float[Tensor, "*shape"]:
    """The linear mapping number of L (…, N, N), negative eigenvalues by their absolute value (the paper, Section 2)."""
    return effective_number(torch.linalg.eigvalsh(L))


def nonlinearity(L: Float[Tensor, "*shape points points"]) -> Float[Tensor, "*shape"]:
    """1 - mean L_ij over pairs, of L (…, N, N); the chapter's own."""
    count = L.shape[-1]
    return (count**2 - L.sum((-2, -1))) / (count * (count - 1))


def silu_slope(z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The derivative of silu(z) = z / (1 + e^-z)."""
    sigmoid = torch.sigmoid(z)
    return sigmoid * (1 + z * (1 - sigmoid))


def jacobian_features(
    z: Float[Tensor, "members points hidden"],
    W2: Float[Tensor, "members hidden dim"],
    W3: Float[Tensor, "members outputs hidden"],
) -> Float[Tensor, "members points hidden"]:
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


def jacobian_lmn(
    z: Float[Tensor, "members points hidden"],
    W2: Float[Tensor, "members hidden dim"],
    W3: Float[Tensor, "members outputs hidden"],
) -> Float[Tensor, " members"]:
    """The linear mapping number with cosines between Jacobians in place of L, (S,); linear in N. See `jacobian_features`."""
    F = jacobian_features(z, W2, W3)
    return effective_number(torch.linalg.eigvalsh(F.mT @ F))


# ---- functions whose number of linear maps is known ----------------------------------------------------------------------


class Pieces:
    """Random continuous maps of the interval [0, 1], each linear on `count` equal pieces.

    Slopes are standard normal, times a size for each whole map whose logarithm is normal with standard deviation `spread`.

    Attributes:
        slopes: of each piece, (S, count, outputs), float64.
    """

    def __init__(self, maps: int, count: int, spread: float = 0.0, outputs: int = 8, seed: int = 0):
        generator = torch.Generator().manual_seed(1000 * count + seed)
        slopes = torch.randn(maps, count, outputs, generator=generator, dtype=torch.float64)
        sizes = torch.randn(maps, 1, 1, generator=generator, dtype=torch.float64)
        self.slopes = slopes * torch.exp(spread * sizes)

    def __call__(self, x: Float[Tensor, "maps points 1"]) -> Float[Tensor, "maps points outputs"]:
        count = self.slopes.shape[1]
        left = torch.arange(count, dtype=x.dtype) / count
        return (x - left).clamp(0, 1 / count) @ self.slopes

    def bytes(self, x: Float[Tensor, "maps points 1"]) -> Float[Tensor, " maps"]:
        """Length that zlib needs for the slopes at the points x, point after point, each to 1/127 of the largest."""
        count = self.slopes.shape[1]
        piece = (x[..., 0] * count).long().clamp_max(count - 1)
        coded = (127 * self.slopes / self.slopes.abs().amax((1, 2), keepdim=True)).round().to(torch.int8)
        rows = torch.take_along_dim(coded, piece[..., None], 1)
        return torch.tensor([len(zlib.compress(row.numpy().tobytes(), 9)) for row in rows], dtype=torch.float64)

    def norms(self) -> Float[Tensor, " maps"]:
        """The smallest Euclidean norm of the weights of a ReLU network with one hidden layer that is this map.

        A bend by v costs 2|v|, as it is cheapest to share it evenly between the weight before the ReLU and those after it.
        """
        bends = torch.cat([self.slopes[:, :1], self.slopes.diff(dim=1)], 1)
        return (2 * bends.norm(dim=2).sum(1)).sqrt()
