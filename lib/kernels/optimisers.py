"""Optimisers with a rate, a decay and a clip for each member of a packed stack, step for step those of torch.optim."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..checks import check
from .tensors import check_tensor


@dataclass(frozen=True)
class Optimiser:
    """What all optimisers share.

    Attributes:
        rate: learning rate; a number, or one for each member or each parameter.
        decay: weight decay, likewise. Added to the gradient, or, if `decoupled`, to the step.
        clip: largest Euclidean norm of a member's gradient; None for no clipping.
        schedule: factor on the rate as a function of the step, counted from 0; None for 1.
    """

    rate: float | Float[Tensor, " rates"] = 1e-3
    decay: float | Float[Tensor, " decays"] = 0.0
    clip: float | None = None
    schedule: Callable[[int], float] | None = None
    decoupled: ClassVar[bool] = False

    def __post_init__(self):
        for name, value in (("rate", self.rate), ("decay", self.decay)):
            if isinstance(value, torch.Tensor):
                check_tensor(name, value, 1)
                if bool((value < 0).any()):
                    raise ValueError(f"{name} = {value.min().item()} in a tensor: expected values ≥ 0")
            else:
                check(name, value, float, low=0)
        if self.clip is not None:
            check("clip", self.clip, float, above=0)

    @property
    def slots(self) -> int:
        """Numbers that it remembers for each parameter."""
        raise NotImplementedError

    def factor(self, step: int) -> float:
        """The schedule's factor at `step`."""
        return 1.0 if self.schedule is None else self.schedule(step)

    def step(
        self,
        theta: Float[Tensor, " total"],
        grad: Float[Tensor, " total"],
        slots: list[Tensor],
        t: int,
        rate: float | Float[Tensor, " total"],
    ) -> None:
        """Move `theta` in place: `slots` are what it remembers, `t` the number of earlier steps, `rate` the rate now."""
        raise NotImplementedError


@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam (Kingma and Ba 2015), as `torch.optim.Adam`."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    @property
    def slots(self) -> int:
        return 2

    def step(self, theta, grad, slots, t, rate):
        (m, v), (b1, b2) = slots, self.betas
        m.lerp_(grad, 1 - b1)
        v.mul_(b2).addcmul_(grad, grad, value=1 - b2)
        denominator = (v / (1 - b2 ** (t + 1))).sqrt_().add_(self.eps)
        theta.sub_(m / denominator * (rate / (1 - b1 ** (t + 1))))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`."""

    decoupled: ClassVar[bool] = True


@dataclass(frozen=True)
class SGD(Optimiser):
    """Gradient descent with momentum, as `torch.optim.SGD`."""

    momentum: float = 0.0

    @property
    def slots(self) -> int:
        return int(self.momentum > 0)

    def step(self, theta, grad, slots, t, rate):
        if self.momentum:
            grad = slots[0].mul_(self.momentum).add_(grad)
        theta.sub_(grad * rate)


def cosine(steps: int, last: float = 0.0) -> Callable[[int], float]:
    """A schedule that falls from 1 to `last` over `steps` steps along half a cosine."""
    return lambda t: last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(t, steps) / steps))


def drops(steps: int, at: tuple[float, ...] = (1 / 3, 2 / 3)) -> Callable[[int], float]:
    """A schedule that divides the rate by 10 at each of the given shares of `steps`."""
    return lambda t: 0.1 ** sum(t >= share * steps for share in at)


class State:
    """An optimiser at work on one packed buffer: its moments, and per-member settings spread over the parameters."""

    def __init__(self, optimiser: Optimiser, theta: Float[Tensor, " total"], sizes: Int[Tensor, " members"]):
        """`theta` is updated in place; `sizes` says how many parameters each member has."""
        self.optimiser, self.theta, self.sizes, self.t = optimiser, theta, sizes, 0
        self.slots = [torch.zeros_like(theta) for _ in range(optimiser.slots)]
        self.rate = self._spread("rate", optimiser.rate)
        self.decay = self._spread("decay", optimiser.decay)

    @functools.cached_property
    def owner(self) -> Int[Tensor, " total"]:
        """The member that each packed parameter belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.sizes), device=self.theta.device), self.sizes)

    def _spread(self, name, value):
        if not isinstance(value, torch.Tensor):
            return value
        value = value.to(self.theta)
        if value.numel() == self.theta.numel():
            return value
        if value.numel() != len(self.sizes):
            shapes = f"({len(self.sizes)},) or ({self.theta.numel()},)"
            raise ValueError(f"{name} = tensor of shape {tuple(value.shape)}: expected {shapes}")
        return value[self.owner]

    def step(self, grad: Float[Tensor, " total"]) -> None:
        """One step of every member along its own gradient."""
        optimiser = self.optimiser
        rate = self.rate * optimiser.factor(self.t)
        if optimiser.clip is not None:
            square = torch.zeros(len(self.sizes), dtype=grad.dtype, device=grad.device)
            norm = square.index_add_(0, self.owner, grad * grad).sqrt()
            grad = grad * (optimiser.clip / (norm + 1e-6)).clamp(max=1.0)[self.owner]
        if isinstance(self.decay, torch.Tensor) or self.decay:
            if optimiser.decoupled:
                self.theta.mul_(1 - rate * self.decay)
            else:
                grad = grad + self.decay * self.theta
        optimiser.step(self.theta, grad, self.slots, self.t, rate)
        self.t += 1

    def __getitem__(self, members: slice | Bool[Tensor, " members"]) -> "State":
        """The state of some members: a slice gives views, whose steps move this state too; a bool mask gives copies."""
        if isinstance(members, slice):
            first, count = int(self.sizes[: members.start].sum()), int(self.sizes[members].sum())
            chosen: slice | Tensor = slice(first, first + count)
        else:
            chosen = members[self.owner]
        other = object.__new__(State)
        other.optimiser, other.theta, other.sizes, other.t = self.optimiser, self.theta[chosen], self.sizes[members], self.t
        other.slots = [slot[chosen] for slot in self.slots]
        other.rate, other.decay = (v[chosen] if isinstance(v, torch.Tensor) else v for v in (self.rate, self.decay))
        return other

    def permute(self, order: Int[Tensor, " total"]) -> None:
        """Let every parameter i go on as parameter `order[i]` was, its moments with it; rates stay."""
        for tensor in (self.theta, *self.slots):
            tensor.copy_(tensor[order])
