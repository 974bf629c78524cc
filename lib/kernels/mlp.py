"""Stacks of small multilayer perceptrons (MLPs), also of different widths, in one packed buffer.

Each member's parameters lie together: W1, b1, W2, b2, … with W of shape (out, in). Members of one architecture lie next to
each other and form a *group*, so that a group's layers are strided views into the buffer, and one batched matrix product
serves all its members.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F

from ..checks import check
from .tensors import check_tensor

# name -> (s, s' as a function of the pre-activation h and the activation a = s(h))
ACTIVATIONS = {
    "silu": (F.silu, lambda h, a: torch.sigmoid(h).mul_(1 - a).add_(a)),
    "relu": (F.relu, lambda h, a: (h > 0).to(h.dtype)),
    "leaky_relu": (F.leaky_relu, lambda h, a: (h > 0).to(h.dtype).clamp_(min=0.01)),
    "tanh": (torch.tanh, lambda h, a: 1 - a * a),
    "gelu": (F.gelu, lambda h, a: torch.special.ndtr(h) + h * torch.exp(-0.5 * h * h) * 0.3989422804014327),
}
LOSSES = {"mse", "bce", "cross_entropy"}


def parameter_count(sizes):
    """Parameters of one MLP with the given layer sizes, input first: (1, 8, 1) has 25."""
    return sum((i + 1) * o for i, o in pairwise(sizes))


def layer_views(block, sizes):
    """Views [(W (S, out, in), b (S, out)), …] into `block` (S, at least the parameter count), one row a member."""
    views, at = [], 0
    for i, o in pairwise(sizes):
        views.append((block[:, at : at + i * o].unflatten(1, (o, i)), block[:, at + i * o : at + i * o + o]))
        at += i * o + o
    return views


@dataclass(frozen=True)
class Stack:
    """A stack of MLPs.

    Attributes:
        theta: packed parameters, shape (total,), floating; its device and dtype are the stack's.
        groups: for each group (members, layer sizes), e.g. ((16, (1, 8, 1)), (16, (1, 32, 1))).
        activation: name in `ACTIVATIONS`, used after every layer but the last.
    """

    theta: torch.Tensor
    groups: tuple
    activation: str = "silu"

    def __post_init__(self):
        check("activation", self.activation, set(ACTIVATIONS))
        total = _total(self.groups)
        check_tensor("theta", self.theta, 1, finite=False)
        if self.theta.numel() != total:
            raise ValueError(f"theta = tensor of shape {tuple(self.theta.shape)}: expected ({total},) for {self.groups}")

    @property
    def members(self):
        """Number of networks."""
        return sum(members for members, _ in self.groups)

    @property
    def sizes(self):
        """Parameters of each member, shape (members,), int64, on the stack's device."""
        members, counts = zip(*((members, parameter_count(sizes)) for members, sizes in self.groups), strict=True)
        return torch.tensor(counts).repeat_interleave(torch.tensor(members)).to(self.theta.device)

    def layers(self, theta=None):
        """Views per group: a list of [(W (S, out, in), b (S, out)), …] into `theta` (default: the stack's own)."""
        theta, views, start = self.theta if theta is None else theta, [], 0
        for members, sizes in self.groups:
            count = parameter_count(sizes)
            views.append(layer_views(theta[start : start + members * count].view(members, count), sizes))
            start += members * count
        return views

    def __call__(self, x):
        """Outputs (members, P, out) at the points `x`, (P, in) for all members or (members, P, in). Differentiable."""
        x = _points("x", x, self)
        act, outputs, start = ACTIVATIONS[self.activation][0], [], 0
        for (members, _), group in zip(self.groups, self.layers(), strict=True):
            h = _columns(x, start, members)
            for depth, (W, b) in enumerate(group):
                h = torch.baddbmm(b[:, :, None], W, h if depth == 0 else act(h))
            outputs.append(h)
            start += members
        return torch.cat(outputs).transpose(1, 2)

    def select(self, members):
        """The stack of the given members only (int64 indices, ascending), copied."""
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


def random_stack(groups, activation="silu", *, seed, scale=None, dtype=torch.float32, device="cpu"):
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
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(_total(groups), generator=generator, dtype=torch.float64) * 2 - 1
    stack = Stack(theta, tuple(groups), activation)
    for (_, sizes), group in zip(stack.groups, stack.layers(), strict=True):
        for (W, b), fan_in in zip(group, sizes, strict=False):
            W.mul_(fan_in**-0.5 if scale is None else scale)
            b.mul_(fan_in**-0.5 if scale is None else scale)
        if scale is not None:
            group[-1][1].zero_()
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
class Regression:
    """A stack of MLPs with the data they learn: what `training.train` runs.

    Attributes:
        stack: the networks.
        x: inputs, (P, in) shared or (members, P, in).
        y: targets, (P, out) shared or (members, P, out); for cross-entropy class numbers, int64, (P,) or (members, P).
        loss: "mse" (mean over outputs of the squared error), "bce" (binary cross-entropy of logits, mean over outputs)
            or "cross_entropy"; all averaged over points with `weight`.
        weight: of the points, (P,) shared or (members, P); None for 1/P. Give a row that sums to 1 for a mean.
    """

    stack: Stack
    x: torch.Tensor
    y: torch.Tensor
    loss: str = "mse"
    weight: torch.Tensor | None = None

    def __post_init__(self):
        check("loss", self.loss, LOSSES)
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
    def theta(self):
        return self.stack.theta

    @property
    def sizes(self):
        return self.stack.sizes

    @property
    def working_set(self):
        """Numbers that one member touches in one step, at most."""
        return 3 * self.x.shape[-2] * max(sum(sizes) for _, sizes in self.stack.groups)

    def with_theta(self, theta):
        """The same problem at other parameters."""
        return replace(self, stack=replace(self.stack, theta=theta))

    def select(self, members):
        """The problem of the given members only (int64 indices, ascending)."""
        own = [self.x.dim() == 3, self.y.dim() == (2 if self.loss == "cross_entropy" else 3)]
        weight = self.weight[members] if self.weight is not None and self.weight.dim() == 2 else self.weight
        x, y = (t[members] if each else t for t, each in zip((self.x, self.y), own, strict=True))
        return replace(self, stack=self.stack.select(members), x=x, y=y, weight=weight)

    def losses(self):
        """Losses (members,), differentiable in the stack's buffer: the plain reference of `gradient`."""
        f = self.stack(self.x)
        shared = self.y.dim() == (1 if self.loss == "cross_entropy" else 2)
        y = self.y.expand(f.shape[0], *self.y.shape) if shared else self.y
        if self.loss == "mse":
            each = (f - y).square().mean(2)
        elif self.loss == "bce":
            each = F.binary_cross_entropy_with_logits(f, y, reduction="none").mean(2)
        else:
            each = F.cross_entropy(f.transpose(1, 2), y, reduction="none")
        return each.mean(1) if self.weight is None else (each * self.weight).sum(1)

    def gradient(self, theta, step=None):
        """Losses (members,) and the gradient (total,) at the packed parameters `theta`, by hand: no graph is built.

        `step` is for models that draw minibatches; here all points count in every step.
        """
        act, slope = ACTIVATIONS[self.stack.activation]
        losses, grad, start = [], torch.empty_like(theta), 0
        views = zip(self.stack.groups, self.stack.layers(theta), self.stack.layers(grad), strict=True)
        for (members, _), layers, grads in views:
            inputs, slopes, h = [_columns(self.x, start, members)], [], None
            for W, b in layers:
                if h is not None:
                    a = act(h)
                    slopes.append(slope(h, a))
                    inputs.append(a)
                h = torch.baddbmm(b[:, :, None], W, inputs[-1])
            loss, delta = self._output(h, start, members)
            losses.append(loss)
            for depth in range(len(layers) - 1, -1, -1):
                grads[depth][0].copy_(torch.bmm(delta, inputs[depth].transpose(1, 2)))
                grads[depth][1].copy_(delta.sum(2))
                if depth:
                    delta = torch.bmm(layers[depth][0].transpose(1, 2), delta).mul_(slopes[depth - 1])
            start += members
        return torch.cat(losses), grad

    def _output(self, h, start, members):
        """Losses (S,) of one group and their derivative (S, out, P) by the outputs h (S, out, P)."""
        rows = slice(start, start + members)
        w = self.weight
        w = 1 / h.shape[2] if w is None else w if w.dim() == 1 else w[rows]
        if self.loss == "cross_entropy":
            y = self.y.expand(members, -1) if self.y.dim() == 1 else self.y[rows]
            logp = F.log_softmax(h, 1)
            hit = F.one_hot(y, h.shape[1]).transpose(1, 2).to(h.dtype)
            return -((logp * hit).sum(1) * w).sum(1), (logp.exp() - hit) * (w if isinstance(w, float) else w[..., None, :])
        y = self.y.T if self.y.dim() == 2 else self.y[rows].transpose(1, 2)
        w = w / h.shape[1] if isinstance(w, float) else w[..., None, :] / h.shape[1]
        if self.loss == "mse":
            r = h - y
            scaled = r * w
            return (r * scaled).sum((1, 2)), scaled.mul_(2)
        return (F.binary_cross_entropy_with_logits(h, y.expand_as(h), reduction="none") * w).sum((1, 2)), (
            torch.sigmoid(h) - y
        ) * w
