"""Problems: what `training.train` runs. A stack of members with the data they learn, all parameters in one packed buffer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Real
from torch import Tensor

from .tensors import check_tensor

# name -> (s, s' as a function of the pre-activation h and the activation a = s(h)), in the order of fused/net.h
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "silu": (F.silu, lambda h, a: torch.sigmoid(h).mul_(1 - a).add_(a)),
    "relu": (F.relu, lambda h, a: (h > 0).to(h.dtype)),
    "leaky_relu": (F.leaky_relu, lambda h, a: (h > 0).to(h.dtype).clamp_(min=0.01)),
    "tanh": (torch.tanh, lambda h, a: 1 - a * a),
    "gelu": (F.gelu, lambda h, a: torch.special.ndtr(h) + h * torch.exp(-0.5 * h * h) * 0.3989422804014327),
}


def _classes(f: Tensor, y: Tensor) -> Tensor:
    return F.one_hot(y, f.shape[-1]).to(f.dtype)


# name -> (loss of each point, its derivative by the outputs), in the order of fused/net.h. Outputs f are (…, outputs),
# targets y alike, or class numbers (…) for the cross-entropy; the loss (…) is a mean over outputs.
LOSSES: dict[str, tuple[Callable, Callable]] = {
    "mse": (lambda f, y: (f - y).square().mean(-1), lambda f, y: (f - y) * (2 / f.shape[-1])),
    "bce": (
        lambda f, y: F.binary_cross_entropy_with_logits(f, y.expand_as(f), reduction="none").mean(-1),
        lambda f, y: (torch.sigmoid(f) - y) / f.shape[-1],
    ),
    "cross_entropy": (
        lambda f, y: -(f.log_softmax(-1) * _classes(f, y)).sum(-1),
        lambda f, y: f.softmax(-1) - _classes(f, y),
    ),
    "log": (
        lambda f, y: 0.5 * torch.log1p((f - y).square()).mean(-1),
        lambda f, y: (f - y) / (1 + (f - y).square()) / f.shape[-1],
    ),
}


def unpack(block: Real[Tensor, "members count"], shapes: Iterable[Sequence[int]]) -> list[Tensor]:
    """Views (members, *shape) into the rows of `block`, one for each of `shapes`, in their order from the first column."""
    shapes = list(shapes)
    counts = [prod(shape) for shape in shapes]
    pieces = block[:, : sum(counts)].split(counts, 1)
    return [piece.view(len(piece), *shape) for piece, shape in zip(pieces, shapes, strict=True)]


def draw_rows(seed: int, steps: range, counts: Int[Tensor, " members"], batch: int) -> Int[Tensor, "steps members batch"]:
    """Minibatches: `batch` row numbers below each of `counts`, with replacement, for each step, on the CPU.

    A draw depends on the seed, the step and the member's place alone: each step has a block of a counter-based generator
    (Philox, Salmon et al. 2011), and the first members' numbers come first.
    """
    below = counts.numpy().astype(np.uint64)[:, None]
    draws = [np.random.Philox(key=seed, counter=step << 64).random_raw((len(below), batch)) % below for step in steps]
    return torch.from_numpy(np.stack(draws).astype(np.int64))


class Problem:
    """A stack of members, each with its own parameters, and the data they learn.

    A subclass is a frozen dataclass, a value that training leaves as it was. It has `theta`, `sizes`, `losses` and `select`,
    `with_theta` unless `theta` is a field of its own, and a `gradient` where it has one by hand.

    Attributes:
        theta: packed parameters, a member after the other, floating; their device and dtype are the problem's.
        kernel: name of the fused kernel that serves it (`fused.cpp.KERNELS`); None for plain torch.
    """

    theta: Float[Tensor, " total"]
    kernel: ClassVar[str | None] = None

    @property
    def sizes(self) -> Int[Tensor, " members"]:
        """Parameters of each member, on the problem's device."""
        raise NotImplementedError

    @property
    def working_set(self) -> int | None:
        """Numbers that one member touches in one step, at most; None if it is better not to cut the stack into chunks."""
        return None

    def with_theta(self, theta: Float[Tensor, " total"]) -> "Problem":
        """The same problem at other parameters."""
        return replace(self, theta=theta)  # type: ignore[type-var]

    def select(self, members: Int[Tensor, " kept"]) -> "Problem":
        """The problem of the given members only, in ascending order: they go on as they would in company."""
        raise NotImplementedError

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        """Losses, differentiable in `theta`.

        None, what is reported, is over all the data that a member has or, where data are drawn afresh at every step, over a
        draw that no step sees. A number, what is minimised, is over the data of that step, which depend on it and on the
        problem's own seeds alone, not on the steps before.
        """
        raise NotImplementedError

    def gradient(
        self, theta: Float[Tensor, " total"], step: int | None = None
    ) -> tuple[Float[Tensor, " members"], Float[Tensor, " total"]]:
        """Losses at the parameters `theta` on the data of `step`, and the gradient of their sum; here by autograd."""
        theta = theta.detach().requires_grad_()
        losses = self.with_theta(theta).losses(step)
        return losses.detach(), torch.autograd.grad(losses.sum(), theta)[0]


@dataclass(frozen=True)
class Differentiable(Problem):
    """Any stack of models given by a loss.

    Attributes:
        loss: function of (parameters, members, step) giving losses (len(members),) as in `Problem.losses`: `parameters` is a
            dict of tensors (members, …), `members` the numbers of those still running, for looking up their own data.
        parameters: dict of floating tensors with the member axis first.
        members: their numbers; None for all.
    """

    loss: Callable[[dict, Tensor, int | None], Tensor]
    parameters: dict[str, Float[Tensor, "members ..."]]
    members: Int[Tensor, " members"] = None  # type: ignore[assignment]  # set below

    def __post_init__(self):
        tensors = {name: check_tensor(f"parameters[{name!r}]", t, finite=False) for name, t in self.parameters.items()}
        counts = {name: len(t) for name, t in tensors.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"parameters = members {counts}: expected the same number of members in each tensor")
        if self.members is None:
            first = next(iter(tensors.values()))
            object.__setattr__(self, "members", torch.arange(len(first), device=first.device))

    @property
    def theta(self) -> Float[Tensor, " total"]:  # type: ignore[override]
        return torch.cat([t.flatten(1) if t.dim() > 1 else t[:, None] for t in self.parameters.values()], 1).flatten()

    @property
    def sizes(self) -> Int[Tensor, " members"]:
        each = sum(t[0].numel() for t in self.parameters.values())
        return torch.full((len(self.members),), each, device=self.members.device)

    def with_theta(self, theta: Float[Tensor, " total"]) -> "Differentiable":
        shapes = [t.shape[1:] for t in self.parameters.values()]
        views = unpack(theta.view(len(self.members), -1), shapes)
        return replace(self, parameters=dict(zip(self.parameters, views, strict=True)))

    def select(self, members: Int[Tensor, " kept"]) -> "Differentiable":
        kept = {name: t[members] for name, t in self.parameters.items()}
        return replace(self, parameters=kept, members=self.members[members])

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        return self.loss(self.parameters, self.members, step)


class Stacked(Problem):
    """A problem whose field `stack` holds the models and their packed parameters.

    Attributes:
        stack: a frozen dataclass with `theta` and `sizes`, as here, and `select`.
    """

    stack: Any

    @property
    def theta(self) -> Float[Tensor, " total"]:  # type: ignore[override]
        return self.stack.theta

    @property
    def sizes(self) -> Int[Tensor, " members"]:
        return self.stack.sizes

    def with_theta(self, theta: Float[Tensor, " total"]) -> "Stacked":
        return replace(self, stack=replace(self.stack, theta=theta))  # type: ignore[type-var]

    def select(self, members: Int[Tensor, " kept"]) -> "Stacked":
        return replace(self, stack=self.stack.select(members))  # type: ignore[type-var]
