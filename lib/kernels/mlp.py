"""Stacks of small multilayer perceptrons (MLPs), also of different widths, in one packed buffer.

Each member's parameters lie together: W1, b1, W2, b2, … with W of shape (out, in). Members of one architecture lie next to
each other and form a *group*, so that a group's layers are strided views into the buffer, and one batched matrix product
serves all its members.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ..checks import check
from .problems import ACTIVATIONS, LOSSES, Stacked, draw_rows, unpack
from .tensors import check_tensor

Layer = tuple[Float[Tensor, "members _out _in"], Float[Tensor, "members _out"]]  # W, b
Groups = tuple[tuple[int, tuple[int, ...]], ...]


def parameter_count(sizes: Sequence[int]) -> int:
    """Parameters of one MLP with the given layer sizes, input first: (1, 8, 1) has 25."""
    return sum((i + 1) * o for i, o in pairwise(sizes))


def layer_views(block: Float[Tensor, "members count"], sizes: Sequence[int]) -> list[Layer]:
    """Views, one a layer, into the rows of `block`, from the first column."""
    views = unpack(block, [shape for i, o in pairwise(sizes) for shape in ((o, i), (o,))])
    return list(zip(views[::2], views[1::2], strict=True))


def fan_in_start(members: int, nets: Sequence[Sequence[int]], generator: torch.Generator) -> Float[Tensor, "members count"]:
    """PyTorch's default parameters, weights and biases ~ U(-1, 1)/sqrt(fan in), float64.

    Args:
        members: how many.
        nets: layer sizes of each of the MLPs that lie next to each other in one member.
        generator: on the CPU.
    """
    counts = [parameter_count(sizes) for sizes in nets]
    block = torch.rand(members, sum(counts), generator=generator, dtype=torch.float64) * 2 - 1
    for part, sizes in zip(block.split(counts, 1), nets, strict=True):
        for layer, fan_in in zip(layer_views(part, sizes), sizes, strict=False):
            for tensor in layer:
                tensor.mul_(fan_in**-0.5)
    return block


@dataclass(frozen=True)
class Stack:
    """A stack of MLPs.

    Attributes:
        theta: packed parameters; their device and dtype are the stack's.
        groups: for each group (members, layer sizes), e.g. ((16, (1, 8, 1)), (16, (1, 32, 1))).
        activation: name in `ACTIVATIONS`, used after every layer but the last.
    """

    theta: Float[Tensor, " total"]
    groups: Groups
    activation: str = "silu"

    def __post_init__(self):
        check("activation", self.activation, set(ACTIVATIONS))
        total = _total(self.groups)
        check_tensor("theta", self.theta, 1, finite=False)
        if self.theta.numel() != total:
            raise ValueError(f"theta = tensor of shape {tuple(self.theta.shape)}: expected ({total},) for {self.groups}")

    @property
    def members(self) -> int:
        """Number of networks."""
        return sum(members for members, _ in self.groups)

    @property
    def sizes(self) -> Int[Tensor, " members"]:
        """Parameters of each member, on the stack's device."""
        members, counts = zip(*((members, parameter_count(sizes)) for members, sizes in self.groups), strict=True)
        return torch.tensor(counts).repeat_interleave(torch.tensor(members)).to(self.theta.device)

    def layers(self, theta: Float[Tensor, " total"] | None = None) -> list[list[Layer]]:
        """Views into `theta` (default: the stack's own), a list of layers for each group."""
        theta, views, start = self.theta if theta is None else theta, [], 0
        for members, sizes in self.groups:
            count = parameter_count(sizes)
            views.append(layer_views(theta[start : start + members * count].view(members, count), sizes))
            start += members * count
        return views

    def __call__(
        self, x: Float[Tensor, "points in"] | Float[Tensor, "members points in"]
    ) -> Float[Tensor, "members points out"]:
        """Outputs at the points `x`, shared or each member's own. Differentiable."""
        x = _points("x", x, self)
        act, outputs, start = ACTIVATIONS[self.activation][0], [], 0
        for (members, _), group in zip(self.groups, self.layers(), strict=True):
            h = _columns(x, start, members)
            for depth, (W, b) in enumerate(group):
                h = torch.baddbmm(b[:, :, None], W, h if depth == 0 else act(h))
            outputs.append(h)
            start += members
        return torch.cat(outputs).transpose(1, 2)

    def select(self, members: Int[Tensor, " kept"]) -> "Stack":
        """The stack of the given members only, ascending, copied."""
        keep = torch.zeros(self.members, dtype=torch.bool, device=self.theta.device)
        keep[members] = True
        theta = self.theta[torch.repeat_interleave(keep, self.sizes)]
        groups, start = [], 0
        for count, sizes in self.groups:
            kept = int(keep[start : start + count].sum())
            groups += [(kept, sizes)] if kept else []
            start += count
        return replace(self, theta=theta, groups=tuple(groups))


def _total(groups):
    """Parameters of all members of `groups`, which is checked."""
    if not groups:
        raise ValueError(f"groups = {groups!r}: expected at least one (members, layer sizes)")
    for members, sizes in groups:
        check("members", members, int, low=1)
        check("sizes", list(sizes), [int], low=1, least=2)
        if sizes[0] != groups[0][1][0] or sizes[-1] != groups[0][1][-1]:
            raise ValueError(f"groups = {groups!r}: expected the same number of inputs and outputs throughout")
    return sum(members * parameter_count(sizes) for members, sizes in groups)


def random_stack(
    groups: Iterable[tuple[int, tuple[int, ...]]],
    activation: str = "silu",
    *,
    seed: int,
    scale: float | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Stack:
    """A stack with random parameters, the same on every device.

    Args:
        groups: as `Stack.groups`.
        activation: as `Stack.activation`.
        seed: of the generator.
        scale: None for PyTorch's default, weights and biases ~ U(-1, 1)/sqrt(fan in); a number for U(-scale, scale)
            throughout and a zero output bias.
        dtype, device: of the buffer.
    """
    check("seed", seed, int, low=0)
    if scale is not None:
        check("scale", scale, float, above=0)
    groups = tuple(groups)
    generator, total = torch.Generator().manual_seed(seed), _total(groups)
    if scale is None:
        theta = torch.cat([fan_in_start(members, [sizes], generator).flatten() for members, sizes in groups])
    else:
        theta = scale * (torch.rand(total, generator=generator, dtype=torch.float64) * 2 - 1)
    stack = Stack(theta, groups, activation)
    for layers in stack.layers() if scale is not None else ():
        layers[-1][1].zero_()
    return replace(stack, theta=theta.to(device, dtype))


def _points(name, x, stack):
    check_tensor(name, x, (2, 3), like=stack.theta)
    inputs = stack.groups[0][1][0]
    if x.shape[-1] != inputs or (x.dim() == 3 and x.shape[0] != stack.members):
        expected = f"(P, {inputs}) or ({stack.members}, P, {inputs})"
        raise ValueError(f"{name} = tensor of shape {tuple(x.shape)}: expected {expected}")
    return x


def _columns(x, start, members):
    """Points as columns, (members, in, P), from shared or per-member rows."""
    return x.T.expand(members, -1, -1) if x.dim() == 2 else x[start : start + members].transpose(1, 2)


@dataclass(frozen=True)
class Regression(Stacked):
    """A stack of MLPs with the data they learn.

    Attributes:
        stack: the networks.
        x: inputs, shared or each member's own.
        y: targets, likewise; for cross-entropy class numbers.
        loss: name in `problems.LOSSES`, averaged over points with `weight`.
        weight: of the points, likewise; None for 1/points. Give a row that sums to 1 for a mean.
    """

    kernel: ClassVar[str | None] = "mlp"

    stack: Stack
    x: Float[Tensor, "points in"] | Float[Tensor, "members points in"]
    y: Float[Tensor, "*members points out"] | Int[Tensor, "*members points"]
    loss: str = "mse"
    weight: Float[Tensor, " points"] | Float[Tensor, "members points"] | None = None

    def __post_init__(self):
        check("loss", self.loss, set(LOSSES))
        _points("x", self.x, self.stack)
        members, outputs, points = self.stack.members, self.stack.groups[0][1][-1], self.x.shape[-2]
        tail = (points,) if self.loss == "cross_entropy" else (points, outputs)
        if self.loss == "cross_entropy":
            check_tensor("y", self.y, floating=False)
            low, high = (int(v) for v in self.y.aminmax())
            if self.y.dtype != torch.int64 or low < 0 or high >= outputs:
                raise ValueError(f"y = {self.y.dtype} from {low} to {high}: expected int64 from 0 to {outputs - 1}")
        else:
            check_tensor("y", self.y, like=self.stack.theta)
        if tuple(self.y.shape) not in (tail, (members, *tail)):
            raise ValueError(f"y = tensor of shape {tuple(self.y.shape)}: expected {tail} or {(members, *tail)}")
        if self.weight is not None:
            check_tensor("weight", self.weight, like=self.stack.theta)
            if tuple(self.weight.shape) not in ((points,), (members, points)):
                shape = tuple(self.weight.shape)
                raise ValueError(f"weight = tensor of shape {shape}: expected {(points,)} or {(members, points)}")

    @property
    def working_set(self) -> int:
        return 3 * self.x.shape[-2] * max(sum(sizes) for _, sizes in self.stack.groups)

    @property
    def own(self) -> tuple[bool, bool, bool]:
        """Whether x, y and the weights are each member's own."""
        weight = self.weight is not None and self.weight.dim() == 2
        return self.x.dim() == 3, self.y.dim() == (2 if self.loss == "cross_entropy" else 3), weight

    def _data(self, rows):
        """x, y and weights of the members in `rows` (a slice or indices); shared ones as they are."""
        data = (self.x, self.y, self.weight)
        return [t[rows] if own else t for t, own in zip(data, self.own, strict=True)]

    def select(self, members: Int[Tensor, " kept"]) -> "Regression":
        x, y, weight = self._data(members)
        return replace(self, stack=self.stack.select(members), x=x, y=y, weight=weight)

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        """Losses over all points, in every step."""
        each = LOSSES[self.loss][0](self.stack(self.x), self.y)
        return each.mean(1) if self.weight is None else (each * self.weight).sum(1)

    def gradient(
        self, theta: Float[Tensor, " total"], step: int | None = None
    ) -> tuple[Float[Tensor, " members"], Float[Tensor, " total"]]:
        """As `Problem.gradient`, by hand: no graph is built."""
        act, slope = ACTIVATIONS[self.stack.activation]
        value, derivative = LOSSES[self.loss]
        losses, grad, start = [], torch.empty_like(theta), 0
        views = zip(self.stack.groups, self.stack.layers(theta), self.stack.layers(grad), strict=True)
        for (members, _), layers, grads in views:
            x, y, weight = self._data(slice(start, start + members))
            inputs, slopes = [x.mT.expand(members, -1, -1)], []
            for depth, (W, b) in enumerate(layers):
                h = torch.baddbmm(b[:, :, None], W, inputs[-1])
                if depth + 1 < len(layers):
                    inputs.append(act(h))
                    slopes.append(slope(h, inputs[-1]))
            weight = torch.full_like(x[..., 0], 1 / x.shape[-2]) if weight is None else weight
            losses.append((value(h.mT, y) * weight).sum(1))
            delta = (derivative(h.mT, y) * weight[..., None]).mT
            for depth in range(len(layers) - 1, -1, -1):
                grads[depth][0].copy_(torch.bmm(delta, inputs[depth].mT))
                grads[depth][1].copy_(delta.sum(2))
                if depth:
                    delta = torch.bmm(layers[depth][0].mT, delta).mul_(slopes[depth - 1])
            start += members
        return torch.cat(losses), grad


@dataclass(frozen=True)
class Minibatches(Stacked):
    """A stack of MLPs of one architecture that learn to classify, each from minibatches of its own rows.

    Every step draws `batch` rows for each member, with replacement (`problems.draw_rows`).

    Attributes:
        stack: the networks, one group.
        x: inputs in the stack's dtype, or bytes, which stand for x * scale + shift; a member has `counts` rows, the rest is
            padding.
        y: class numbers.
        counts: rows of each member.
        batch: rows in a step.
        seed: of the draws.
        scale, shift: in the stack's dtype, where x are bytes; else None.
        members: which members of the whole these are, on the CPU, so that each draws as in company; None for all.
    """

    kernel: ClassVar[str | None] = "minibatches"

    stack: Stack
    x: Float[Tensor, "members rows in"] | UInt8[Tensor, "members rows in"]
    y: Int[Tensor, "members rows"]
    counts: Int[Tensor, " members"]
    batch: int
    seed: int = 0
    scale: Float[Tensor, " in"] | None = None
    shift: Float[Tensor, " in"] | None = None
    members: Int[Tensor, " members"] = None  # type: ignore[assignment]  # set below

    def __post_init__(self):
        check("batch", self.batch, int, low=1)
        check("seed", self.seed, int, low=0)
        coded = check_tensor("x", self.x, 3, floating=False).dtype == torch.uint8
        members, rows, inputs = self.x.shape
        if not coded:
            check_tensor("x", self.x, like=self.stack.theta, finite=False)
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if coded and check_tensor(name, value, 1, like=self.stack.theta).shape != (inputs,):
                raise ValueError(f"{name} = tensor of shape {tuple(value.shape)}: expected ({inputs},)")
            if not coded and value is not None:
                raise ValueError(f"{name} = a tensor: expected None for inputs that are no bytes")
        for name, shape in (("y", (members, rows)), ("counts", (members,))):
            value = check_tensor(name, getattr(self, name), floating=False)
            if value.dtype != torch.int64 or tuple(value.shape) != shape:
                raise ValueError(f"{name} = {value.dtype}, shape {tuple(value.shape)}: expected int64, shape {shape}")
        if len(self.stack.groups) != 1 or self.stack.members != members:
            raise ValueError(f"stack = groups {self.stack.groups}: expected one of {members} members")
        if self.members is None:
            object.__setattr__(self, "members", torch.arange(members))

    @property
    def working_set(self) -> int:
        return 3 * self.batch * sum(self.stack.groups[0][1])

    def select(self, members: Int[Tensor, " kept"]) -> "Minibatches":
        rows = {name: getattr(self, name)[members] for name in ("x", "y", "counts")}
        return replace(self, stack=self.stack.select(members), members=self.members[members.cpu()], **rows)

    def picks(self, start: int, stop: int) -> Int[Tensor, "steps members batch"]:
        """The rows of the steps from `start` to `stop`, int64, on the CPU."""
        counts = torch.ones(int(self.members.max()) + 1, dtype=torch.int64)
        counts[self.members] = self.counts.cpu()
        return draw_rows(self.seed, range(start, stop), counts, self.batch)[:, self.members]

    def _read(self, x):
        """What the networks see."""
        return x if self.scale is None else x.to(self.stack.theta.dtype).mul_(self.scale).add_(self.shift)

    def _batch(self, step):
        """The members with the rows of a step."""
        rows = self.picks(step, step + 1)[0].to(self.x.device)
        members = torch.arange(len(rows), device=rows.device)[:, None]
        return Regression(self.stack, self._read(self.x[members, rows]), self.y[members, rows], "cross_entropy")

    def _all(self, member):
        """One member with all its rows."""
        one, n = slice(member, member + 1), int(self.counts[member])
        stack = self.stack.select(torch.tensor([member]))
        return Regression(stack, self._read(self.x[one, :n]), self.y[one, :n], "cross_entropy")

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        if step is not None:
            return self._batch(step).losses()
        return torch.cat([self._all(member).losses() for member in range(len(self.x))])

    def gradient(
        self, theta: Float[Tensor, " total"], step: int | None = None
    ) -> tuple[Float[Tensor, " members"], Float[Tensor, " total"]]:
        """As `Problem.gradient`, by hand."""
        return super().gradient(theta) if step is None else self._batch(step).gradient(theta)
