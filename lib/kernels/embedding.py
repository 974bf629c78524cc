"""Stacks of MLPs that read pairs of learned points: a table of points, gathered by index, and a decoder.

Each member's parameters lie together: the table E (tokens, dim), then the decoder's layers as in `mlp`. Members whose
decoders have the same architecture lie next to each other and form a group.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..checks import check
from .mlp import Groups, Layer, layer_views, parameter_count
from .problems import ACTIVATIONS, LOSSES, Problem
from .tensors import check_tensor

# What the decoder reads of the points a, b (…, dim) of a pair, in the order of fused/embedding.h
MODES = {
    "concatenation": lambda a, b: torch.cat([a, b], -1),
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "squared difference": lambda a, b: (a - b).square(),
}


@dataclass(frozen=True)
class Embedded(Problem):
    """A stack of networks, each with its own pairs of tokens to answer, all of them in every step.

    Attributes:
        theta: packed parameters.
        tokens, dim: rows and columns of every member's table of points.
        groups: for each group (members, sizes of the decoder's layers), inputs first, which are 2 dim for "concatenation"
            and dim else; inputs and outputs are the same in all groups.
        pairs: numbers of tokens.
        y: targets; for cross-entropy class numbers.
        weight: of the pairs; a row that sums to 1 gives a mean. A list that is shorter than another one
            ends with weights 0.
        activation: name in `problems.ACTIVATIONS`, used after every layer but the last.
        mode: name in `MODES`.
        loss: name in `problems.LOSSES`.
    """

    kernel: ClassVar[str | None] = "embedding"

    theta: Float[Tensor, " total"]
    tokens: int
    dim: int
    groups: Groups
    pairs: Int[Tensor, "members pairs 2"]
    y: Float[Tensor, "members pairs outputs"] | Int[Tensor, "members pairs"]
    weight: Float[Tensor, "members pairs"]
    activation: str = "silu"
    mode: str = "concatenation"
    loss: str = "cross_entropy"

    def __post_init__(self):
        for name, allowed in (("activation", ACTIVATIONS), ("mode", MODES), ("loss", LOSSES)):
            check(name, getattr(self, name), set(allowed))
        for name in ("tokens", "dim"):
            check(name, getattr(self, name), int, low=1)
        inputs, members = self.dim * (2 if self.mode == "concatenation" else 1), len(self.pairs)
        ends = {(sizes[0], sizes[-1]) for _, sizes in self.groups}
        if len(ends) != 1 or min(ends)[0] != inputs or sum(count for count, _ in self.groups) != members:
            raise ValueError(f"groups = {self.groups}: expected {members} members with {inputs} inputs, and equal outputs")
        check_tensor("theta", self.theta, 1, finite=False)
        if len(self.theta) != (expected := int(self.sizes.sum())):
            raise ValueError(f"theta = tensor of shape {tuple(self.theta.shape)}: expected ({expected},)")
        check_tensor("pairs", self.pairs, 3, floating=False)
        low, high = (int(v) for v in self.pairs.aminmax())
        if self.pairs.dtype != torch.int64 or self.pairs.shape[2] != 2 or low < 0 or high >= self.tokens:
            here = f"pairs = {self.pairs.dtype}, shape {tuple(self.pairs.shape)}, from {low} to {high}"
            raise ValueError(f"{here}: expected int64, shape (members, pairs, 2), from 0 to {self.tokens - 1}")
        shape, outputs = tuple(self.pairs.shape[:2]), min(ends)[1]
        if self.loss == "cross_entropy":
            low, high = (int(v) for v in check_tensor("y", self.y, 2, floating=False).aminmax())
            if self.y.dtype != torch.int64 or low < 0 or high >= outputs:
                raise ValueError(f"y = {self.y.dtype} from {low} to {high}: expected int64 from 0 to {outputs - 1}")
        else:
            check_tensor("y", self.y, 3, like=self.theta)
        expected = shape if self.loss == "cross_entropy" else (*shape, outputs)
        if tuple(self.y.shape) != expected or tuple(check_tensor("weight", self.weight, like=self.theta).shape) != shape:
            here = f"y, weight = tensors of shape {tuple(self.y.shape)}, {tuple(self.weight.shape)}"
            raise ValueError(f"{here}: expected {expected}, {shape}")

    @property
    def sizes(self) -> Int[Tensor, " members"]:
        counts = [self.tokens * self.dim + parameter_count(sizes) for _, sizes in self.groups]
        members = torch.tensor([members for members, _ in self.groups])
        return torch.tensor(counts).repeat_interleave(members).to(self.theta.device)

    @property
    def working_set(self) -> int:
        return 3 * self.pairs.shape[1] * max(sum(sizes) for _, sizes in self.groups)

    def select(self, members: Int[Tensor, " kept"]) -> "Embedded":
        keep = torch.zeros(len(self.pairs), dtype=torch.bool, device=self.theta.device)
        keep[members] = True
        groups, start = [], 0
        for count, sizes in self.groups:
            kept = int(keep[start : start + count].sum())
            groups += [(kept, sizes)] if kept else []
            start += count
        own = {name: getattr(self, name)[members] for name in ("pairs", "y", "weight")}
        return replace(self, theta=self.theta[keep.repeat_interleave(self.sizes)], groups=tuple(groups), **own)

    def unpack(self, theta: Float[Tensor, " total"] | None = None) -> list[tuple[Tensor, list[Layer]]]:
        """For each group views of its tables (members, tokens, dim) and of its layers."""
        theta, views, start = self.theta if theta is None else theta, [], 0
        at = self.tokens * self.dim
        for members, sizes in self.groups:
            stop = start + members * (at + parameter_count(sizes))
            block = theta[start:stop].view(members, -1)
            views.append((block[:, :at].view(members, self.tokens, self.dim), layer_views(block[:, at:], sizes)))
            start = stop
        return views

    def __call__(self, pairs: Int[Tensor, "members pairs 2"]) -> Float[Tensor, "members pairs outputs"]:
        """What every network says of some pairs; differentiable in `theta`."""
        act, said, start = ACTIVATIONS[self.activation][0], [], 0
        for E, layers in self.unpack():
            a, b = (_rows(E, pairs[start : start + len(E), :, k]) for k in (0, 1))
            h = MODES[self.mode](a, b)
            for depth, (W, bias) in enumerate(layers):
                h = torch.baddbmm(bias[:, None], act(h) if depth else h, W.mT)
            said.append(h)
            start += len(E)
        return torch.cat(said)

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        return (LOSSES[self.loss][0](self(self.pairs), self.y) * self.weight).sum(1)


def _rows(E, numbers):
    """Rows (S, pairs, dim) of the tables E (S, tokens, dim)."""
    return E.gather(1, numbers[..., None].expand(-1, -1, E.shape[2]))
