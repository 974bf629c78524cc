"""Stacks of small recurrent networks whose transition and read-out are MLPs.

h_t = f([h_{t-1}, x_t]), y_t = g(h_t), h_0 = 0. Each member's parameters lie together, those of f before those of g, each
as in `mlp`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..checks import check
from .mlp import Layer, fan_in_start, layer_views, parameter_count
from .problems import ACTIVATIONS, LOSSES, Stacked, draw_rows
from .tensors import check_tensor


@dataclass(frozen=True)
class Recurrent:
    """A stack of recurrent networks of one architecture.

    Attributes:
        theta: packed parameters; their device and dtype are the stack's.
        members: number of networks.
        transition: layer sizes of f, (n + d, …, n) for n hidden units and d inputs; two sizes make it affine.
        readout: layer sizes of g, (n, …, outputs).
        activation: name in `problems.ACTIVATIONS`, between the layers of f and of g; their last layers are linear.
    """

    theta: Float[Tensor, " total"]
    members: int
    transition: tuple[int, ...]
    readout: tuple[int, ...]
    activation: str = "relu"

    def __post_init__(self):
        check("activation", self.activation, set(ACTIVATIONS))
        check("members", self.members, int, low=1)
        for name, sizes in (("transition", self.transition), ("readout", self.readout)):
            check(name, list(sizes), [int], low=1, least=2)
        hidden = self.transition[-1]
        if self.transition[0] <= hidden:
            raise ValueError(f"transition = {self.transition}: expected more inputs than the {hidden} hidden units")
        if self.readout[0] != hidden:
            raise ValueError(f"readout = {self.readout}: expected {hidden} inputs, the hidden units")
        check_tensor("theta", self.theta, 1, finite=False)
        if self.theta.numel() != self.members * self.count:
            shape = tuple(self.theta.shape)
            raise ValueError(f"theta = tensor of shape {shape}: expected ({self.members * self.count},)")

    @property
    def count(self) -> int:
        """Parameters of one member."""
        return parameter_count(self.transition) + parameter_count(self.readout)

    @property
    def sizes(self) -> Int[Tensor, " members"]:
        """Parameters of each member, on the stack's device."""
        return torch.full((self.members,), self.count, device=self.theta.device)

    def layers(self, theta: Float[Tensor, " total"] | None = None) -> tuple[list[Layer], list[Layer]]:
        """Views into `theta` (default: the stack's own), the layers of f and those of g."""
        block = (self.theta if theta is None else theta).view(self.members, self.count)
        return layer_views(block, self.transition), layer_views(block[:, parameter_count(self.transition) :], self.readout)

    def _mlp(self, layers, h):
        """Outputs (members, P, out) at the points h (members, P, in)."""
        for depth, (W, b) in enumerate(layers):
            h = torch.baddbmm(b[:, None], ACTIVATIONS[self.activation][0](h) if depth else h, W.mT)
        return h

    def states(self, x: Float[Tensor, "sequences times in"]) -> Float[Tensor, "members sequences times hidden"]:
        """Hidden states h_1, h_2, … on the sequences x. Differentiable."""
        check_tensor("x", x, 3, like=self.theta)
        inputs = self.transition[0] - self.transition[-1]
        if x.shape[2] != inputs:
            raise ValueError(f"x = tensor of shape {tuple(x.shape)}: expected (S, T, {inputs})")
        h, states = x.new_zeros(self.members, len(x), self.transition[-1]), []
        for t in range(x.shape[1]):
            h = self._mlp(self.layers()[0], torch.cat([h, x[:, t].expand(self.members, -1, -1)], 2))
            states.append(h)
        return torch.stack(states, 2)

    def __call__(self, x: Float[Tensor, "sequences times in"]) -> Float[Tensor, "members sequences times out"]:
        """Outputs y_1, y_2, … on the sequences x. Differentiable."""
        states = self.states(x)
        return self._mlp(self.layers()[1], states.flatten(1, 2)).unflatten(1, states.shape[1:3])

    def select(self, members: Int[Tensor, " kept"]) -> "Recurrent":
        """The stack of the given members only, copied."""
        theta = self.theta.view(self.members, -1)[members]
        return replace(self, theta=theta.flatten(), members=len(theta))


def random_recurrent(
    members: int,
    transition: Sequence[int],
    readout: Sequence[int],
    activation: str = "relu",
    *,
    seed: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Recurrent:
    """A stack with PyTorch's default parameters, weights and biases ~ U(-1, 1)/sqrt(fan in), the same on every device."""
    check("seed", seed, int, low=0)
    block = fan_in_start(members, [transition, readout], torch.Generator().manual_seed(seed))
    return Recurrent(block.flatten().to(device, dtype), members, tuple(transition), tuple(readout), activation)


@dataclass(frozen=True)
class Sequences(Stacked):
    """A stack of recurrent networks with the sequences they learn.

    The loss is a mean over sequences, positions and outputs. Every step draws one minibatch, with replacement, for all
    members; the draw depends on `seed` and the number of the step alone. Recorded losses are over all sequences.

    Attributes:
        stack: the networks.
        x: inputs.
        y: targets.
        loss: name in `problems.LOSSES`, but for the cross-entropy.
        batch: sequences a step; None for all.
        seed: of the draws.
    """

    kernel: ClassVar[str | None] = "rnn"

    stack: Recurrent
    x: Float[Tensor, "sequences times in"]
    y: Float[Tensor, "sequences times out"]
    loss: str = "log"
    batch: int | None = None
    seed: int = 0

    def __post_init__(self):
        check("loss", self.loss, set(LOSSES) - {"cross_entropy"})
        check("seed", self.seed, int, low=0)
        if self.batch is not None:
            check("batch", self.batch, int, low=1)
        check_tensor("x", self.x, 3, like=self.stack.theta)
        check_tensor("y", self.y, 3, like=self.stack.theta)
        inputs = self.stack.transition[0] - self.stack.transition[-1]
        if self.x.shape[2] != inputs:
            raise ValueError(f"x = tensor of shape {tuple(self.x.shape)}: expected (N, T, {inputs})")
        expected = (*self.x.shape[:2], self.stack.readout[-1])
        if tuple(self.y.shape) != expected:
            raise ValueError(f"y = tensor of shape {tuple(self.y.shape)}: expected {expected}")

    @property
    def working_set(self) -> int:
        width = sum(self.stack.transition[1:]) + sum(self.stack.readout[1:])
        return 3 * width * self.x.shape[1] * (self.batch or len(self.x))

    def picks(self, start: int, stop: int) -> Int[Tensor, "steps batch"]:
        """The sequences of the steps from `start` to `stop`, on the CPU."""
        if self.batch is None:
            return torch.arange(len(self.x)).repeat(stop - start, 1)
        return draw_rows(self.seed, range(start, stop), torch.tensor([len(self.x)]), self.batch)[:, 0]

    def losses(self, step: int | None = None) -> Float[Tensor, " members"]:
        x, y = self.x, self.y
        if step is not None and self.batch is not None:
            picks = self.picks(step, step + 1)[0].to(x.device)
            x, y = x[picks], y[picks]
        return LOSSES[self.loss][0](self.stack(x), y).mean((1, 2))
