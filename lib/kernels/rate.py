"""Stacks of rate networks, h_t = relu(W h_{t-1} + U x_t + b + noise_t), h_0 = 0, that answer with logits V h_t + c.

Each member's parameters lie together: W (n, n), U (n, inputs), b (n), V (outputs, n), c (outputs). Trials of different
lengths are *packed*: step after step, the longest trials first, so that the first rows of a step go on from those of the
step before, and no time is spent on padding.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from ..checks import check
from .problems import Problem, unpack
from .tensors import check_tensor


@dataclass(frozen=True)
class RateNetworks:
    """A stack of networks.

    Attributes:
        theta: parameters: W, U, b, V and c in a row; or their numbers, int64, to see where a change of seats puts them.
        units, inputs, outputs: the sizes of one network.
    """

    theta: Real[Tensor, "members count"]
    units: int
    inputs: int
    outputs: int

    def __post_init__(self):
        if self.theta.dim() != 2 or not len(self.theta) or self.theta.shape[1] != sum(s.numel() for s in self.shapes):
            expected = sum(s.numel() for s in self.shapes)
            raise ValueError(f"theta = tensor of shape {tuple(self.theta.shape)}: expected (members, {expected})")

    @property
    def shapes(self) -> list[torch.Size]:
        """The shapes of W, U, b, V and c."""
        n, i, o = self.units, self.inputs, self.outputs
        return [torch.Size(s) for s in ((n, n), (n, i), (n,), (o, n), (o,))]

    def parts(self, packed: Real[Tensor, "members count"] | None = None) -> list[Tensor]:
        """Views W, U, b, V, c (members, …) into `packed`, by default the parameters."""
        return unpack(self.theta if packed is None else packed, self.shapes)

    def __getitem__(self, members: slice | Int[Tensor, " kept"] | list[int]) -> "RateNetworks":
        """The networks of these members."""
        return replace(self, theta=self.theta[members])

    def states(
        self,
        x: Float[Tensor, "rows inputs"],
        counts: list[int],
        noise: Float[Tensor, "rows units"] | None = None,
        alive: Float[Tensor, "#members units"] | None = None,
    ) -> Float[Tensor, "members rows units"]:
        """Hidden states on packed trials, `counts` rows of each step; in place, so that autograd does not pass.

        `noise` is added before the rectifier. `alive` multiplies the states: zero removes a unit.
        """
        W, U, b, _, _ = self.parts()
        h, start = torch.baddbmm(b[:, None], x.expand(len(b), -1, -1), U.mT), 0
        if noise is not None:
            h += noise
        for before, count in zip([0, *counts], counts, strict=False):
            now = h[:, start : start + count]
            if before:
                now.baddbmm_(h[:, start - before : start - before + count], W.mT)
            now.relu_()
            if alive is not None:
                now *= alive[:, None]
            start += count
        return h

    def __call__(
        self, x: Float[Tensor, "rows inputs"], counts: list[int], alive: Float[Tensor, "#members units"] | None = None
    ) -> Float[Tensor, "members rows outputs"]:
        """Logits on packed trials."""
        V, c = self.parts()[3:]
        return torch.baddbmm(c[:, None], self.states(x, counts, alive=alive), V.mT)


@dataclass(frozen=True)
class Packed:
    """Packed trials.

    Attributes:
        x: inputs.
        y: right answers.
        counts: rows of each step, numbers that never grow and sum to all.
        noise: what is added to every unit's input, or None.
    """

    x: Float[Tensor, "rows inputs"]
    y: Int[Tensor, " rows"]
    counts: list[int]
    noise: Float[Tensor, "rows units"] | None = None

    def __post_init__(self):
        check_tensor("x", self.x, 2)
        check("counts", list(self.counts), [int], low=1)
        if sum(self.counts) != len(self.x) or sorted(self.counts, reverse=True) != list(self.counts):
            raise ValueError(f"counts = {self.counts}: expected numbers that never grow and sum to {len(self.x)}")
        if self.y.shape != self.x.shape[:1] or (self.noise is not None and len(self.noise) != len(self.x)):
            raise ValueError(f"y, noise = tensors of other lengths: expected {len(self.x)} rows, as x has")


def _always(step):
    return 1.0


@dataclass(frozen=True)
class RateTraining(Problem):
    """A stack of rate networks that learn trials, drawn afresh at every step, at a price for weights.

    The loss of a step is the cross-entropy, a mean over all times of all its trials, plus Σ price |θ| times that step's
    factor. All members see the same trials and the same noise.

    Attributes:
        stack: the networks.
        draw: function of the step (or None, see `Problem.losses`) giving its `Packed` trials, the same at every call.
        price: what a unit of each parameter costs, or None.
        factor: of the price, as a function of the step (or None).
        free: 1 for parameters that are trained and 0 for those that keep their value; None for all.
    """

    kernel: ClassVar[str | None] = "rate"

    stack: RateNetworks
    draw: Callable[[int | None], Packed]
    price: Float[Tensor, "members count"] | None = None
    factor: Callable[[int | None], float] = _always
    free: Float[Tensor, "members count"] | None = None

    def __post_init__(self):
        for name in ("price", "free"):
            value, shape = getattr(self, name), tuple(self.stack.theta.shape)
            if value is not None and check_tensor(name, value, 2, like=self.stack.theta).shape != shape:
                raise ValueError(f"{name} = tensor of shape {tuple(value.shape)}: expected {shape}")

    @property
    def theta(self) -> Float[Tensor, " total"]:  # type: ignore[override]
        return self.stack.theta.reshape(-1)

    @property
    def sizes(self) -> Int[Tensor, " members"]:
        members, count = self.stack.theta.shape
        return torch.full((members,), count, device=self.stack.theta.device)

    @property
    def working_set(self) -> int:
        return 3 * self.stack.units * len(self.draw(None).x)

    def with_theta(self, theta: Float[Tensor, " total"]) -> "RateTraining":
        return replace(self, stack=replace(self.stack, theta=theta.view(self.stack.theta.shape)))

    def select(self, members: Int[Tensor, " kept"]) -> "RateTraining":
        price, free = (t if t is None else t[members] for t in (self.price, self.free))
        return replace(self, stack=self.stack[members], price=price, free=free)

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        stack, now = self.stack, self.draw(step)
        if self.free is not None:
            stack = replace(stack, theta=stack.theta * self.free + (stack.theta * (1 - self.free)).detach())
        W, U, b, V, c = stack.parts()
        drive = now.x @ U.mT + b[:, None] + (0.0 if now.noise is None else now.noise)
        states: list[Tensor] = []
        for part in drive.split(now.counts, 1):
            before = states[-1][:, : part.shape[1]] @ W.mT if states else 0.0
            states.append(torch.relu(part + before))
        logits = torch.cat(states, 1) @ V.mT + c[:, None]
        y = now.y.expand(len(b), -1)[..., None]
        losses = -logits.log_softmax(2).gather(2, y)[..., 0].mean(1)
        return losses if self.price is None else losses + (self.price * stack.theta.abs()).sum(1) * self.factor(step)

    def gradient(
        self, theta: Float[Tensor, " total"], step: int | None = None
    ) -> tuple[Float[Tensor, " members"], Float[Tensor, " total"]]:
        """As `Problem.gradient`, by hand: back-propagation through time."""
        stack, trials = replace(self.stack, theta=theta.view(self.stack.theta.shape)), self.draw(step)
        x, y, counts = trials.x, trials.y, trials.counts
        W, _, _, V, c = stack.parts()
        h = stack.states(x, counts, trials.noise)
        logp = torch.baddbmm(c[:, None], h, V.mT).log_softmax(2)
        rows = torch.arange(len(y), device=y.device)
        losses = -logp[:, rows, y].mean(1)
        error = logp.exp_()
        error[:, rows, y] -= 1
        error /= len(y)
        dz, stop = error @ V, len(y)
        for count, after in zip(counts[::-1], [0, *counts[::-1]], strict=False):
            now = dz[:, stop - count : stop]
            if after:
                now[:, :after].baddbmm_(dz[:, stop : stop + after], W)
            now.mul_(h[:, stop - count : stop] > 0)
            stop -= count
        times = torch.tensor(counts, device=x.device)
        before = rows[counts[0] :] - torch.repeat_interleave(times[:-1], times[1:])  # the row one time earlier
        grad = torch.empty_like(stack.theta)
        gW, gU, gb, gV, gc = stack.parts(grad)
        gW.copy_(dz[:, counts[0] :].mT @ h[:, before])
        gU.copy_(dz.mT @ x)
        gb.copy_(dz.sum(1))
        gV.copy_(error.mT @ h)
        gc.copy_(error.sum(1))
        if self.price is not None:
            losses += (self.price * stack.theta.abs()).sum(1) * self.factor(step)
            grad.addcmul_(self.price, stack.theta.sign(), value=self.factor(step))
        if self.free is not None:
            grad.mul_(self.free)
        return losses, grad.view(-1)
