"""Which algorithm does a network run? Order parameters that are measured on its weights and outputs, and labels from them.

SiLU is s(z) = z/2 + (z/2) tanh(z/2), so f(x) - f(-x) = v·x with v = Σ_j w_j W_j, exactly. The L1 norm is even: a network
that computes it has v = 0. The algorithms are ways to make it so: in pairs (double-sided), by a background (pudding), by
chance (convexity). This account is the chapter's own; names of order parameters are the paper's at second hand.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...kernels.tensors import check_tensor
from .networks import outputs

LABELS = ("none of these", "convexity", "pudding +", "pudding −", "double-sided")
NONE, CONVEXITY, PLUS, MINUS, DOUBLE = range(5)


@dataclass(frozen=True)
class Orders:
    """Order parameters of networks, each (…,). A neuron's owner is the input of its largest weight.

    Attributes:
        strongest: share of a row's square that is in its largest entry, mean over rows weighted by |w_j| ‖W_j‖.
        doubled: share of the owners' linear part that cancels between neurons of the same owner; 1 if in mirror pairs.
        background: share of what is left of it that the weights to other inputs cancel; 1 in a perfect pudding.
        sign: sign of what is left of it, mean over inputs weighted by its size; ±1 in a pudding of that sign.
        redraw: 1 - correlation of the weights with those of a second draw of the noise.
        length: share of the variance of the outputs that ‖x‖₂ explains (squared correlation).
        taxicab: share that ‖x‖₁ explains.
    """

    strongest: Tensor
    doubled: Tensor
    background: Tensor
    sign: Tensor
    redraw: Tensor
    length: Tensor
    taxicab: Tensor

    def cpu(self) -> "Orders":
        """The same on the CPU."""
        return Orders(*(getattr(self, field.name).cpu() for field in fields(self)))


def _squared_correlation(a, b):
    """Over the last axis."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return F.cosine_similarity(a, b, dim=-1).square()


def orders(
    W: Float[Tensor, "*K h n"], w: Float[Tensor, "*K h"], other: Float[Tensor, "*K h n"], x: Float[Tensor, "points n"]
) -> Orders:
    """`Orders` of networks W, w, whose second draw has the weights `other`, at the points x.

    Raises:
        ValueError: for tensors that do not fit together, or are not finite.
    """
    check_tensor("W", W)
    if W.shape[:-1] != w.shape or W.shape != other.shape:
        here = f"w, other = tensors of shapes {tuple(w.shape)}, {tuple(other.shape)}"
        raise ValueError(f"{here}: expected {tuple(W.shape[:-1])}, {tuple(W.shape)}")
    owner = W.abs().argmax(-1, keepdim=True)
    top, norm = W.gather(-1, owner)[..., 0], W.norm(dim=-1).clamp(min=1e-12)
    importance = w.abs() * norm
    pull = torch.zeros_like(W).scatter(-1, owner, (w * top)[..., None])  # each neuron's linear part from its owner
    left, total = pull.sum(-2), (w[..., None] * W).sum(-2)  # (…, n): by owner, and v
    a, b = (v.flatten(-2) - v.mean((-2, -1))[..., None] for v in (W, other))
    said = outputs(W, w, x)
    return Orders(
        strongest=(importance * (top / norm).square()).sum(-1) / importance.sum(-1).clamp(min=1e-12),
        doubled=1 - left.abs().sum(-1) / pull.abs().sum((-2, -1)).clamp(min=1e-12),
        background=1 - total.abs().sum(-1) / left.abs().sum(-1).clamp(min=1e-12),
        sign=left.sum(-1) / left.abs().sum(-1).clamp(min=1e-12),
        redraw=1 - F.cosine_similarity(a, b, dim=-1),
        length=_squared_correlation(said, x.norm(dim=-1)),
        taxicab=_squared_correlation(said, x.abs().sum(-1)),
    )


def classify(eps: Float[Tensor, "*K"], found: Orders) -> Int[Tensor, "*K"]:
    """Indices into `LABELS` from errors and order parameters; every threshold is one half.

    Convexity: the weights are mostly chance, and ‖x‖₂ explains more than half of the outputs, and more than ‖x‖₁ does.
    The others: mostly not chance, ε < ½, and the linear part cancels mostly in pairs, or else mostly by the background.
    """
    label = torch.full_like(eps, NONE, dtype=torch.int64)
    ordered = (found.redraw <= 0.5) & (eps < 0.5)
    label[ordered & (found.background > 0.5)] = MINUS
    label[ordered & (found.background > 0.5) & (found.sign > 0)] = PLUS
    label[ordered & (found.doubled > 0.5)] = DOUBLE
    label[(found.redraw > 0.5) & (found.length > 0.5) & (found.length > found.taxicab)] = CONVEXITY
    return label


@dataclass(frozen=True)
class Spins:
    """With which sign each input of a network is read.

    Attributes:
        sign: (…, n): the stronger sign among neurons that read one input (with over half of their square on it); 0 for none.
        doubled: (…, n): the weaker sign's share of the pull, times 2: 0 for one-sided, 1 for two-sided inputs.
        background: (…,): cosine of the angle between the summed weights of all other neurons and minus `sign`.
    """

    sign: Tensor
    doubled: Tensor
    background: Tensor


def spins(W: Float[Tensor, "*K h n"], w: Float[Tensor, "*K h"]) -> Spins:
    """`Spins` of networks."""
    owner = W.abs().argmax(-1, keepdim=True)
    top = W.gather(-1, owner)[..., 0]
    plum = top.square() > 0.5 * W.square().sum(-1)
    pull = torch.zeros_like(W).scatter(-1, owner, (w * top * plum)[..., None])
    up, down = pull.clamp(min=0).sum(-2), -pull.clamp(max=0).sum(-2)
    sign = (up - down).sign()
    rest = ((w * ~plum)[..., None] * W).sum(-2)
    doubled = 2 * torch.minimum(up, down) / (up + down).clamp(min=1e-12)
    return Spins(sign, doubled, F.cosine_similarity(rest, -sign, dim=-1))
