"""Levenberg-Marquardt on one recurrent network: from near an exact solution, where Adam leaves it, all the way."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...kernels.least_squares import levenberg_marquardt
from ...kernels.problems import ACTIVATIONS
from ...kernels.rnn import Recurrent
from .networks import Network, network

POLISH = 20  # iterations, at most
ROUND = 1e-8  # added to squares of parameters under the root of the L1 price, so that its slope at 0 is finite


def _forward(layers, h, activation):
    """Outputs (S, out) of an MLP and, for each layer, what it takes and how steep the activation is that gave it."""
    kept = []
    for depth, (W, b) in enumerate(layers):
        act = activation[0](h) if depth else h
        kept.append((act, activation[1](h, act) if depth else torch.ones_like(h)))
        h = act @ W[0].T + b[0]
    return h, kept


def _backward(layers, kept, slope):
    """From derivatives (S, K, out) by the outputs: those by the inputs, and a list of those by each layer's outputs."""
    slopes = []
    for (W, _), (_, steep) in zip(reversed(layers), reversed(kept), strict=True):
        slopes.insert(0, slope)
        slope = (slope @ W[0]) * steep[:, None]
    return slope, slopes


def _unrolled(stack, x):
    """Answers (S, T, o) of a stack of one member, and for each step what `_forward` keeps of f and of g."""
    f, g = stack.layers()
    activation = ACTIVATIONS[stack.activation]
    h, answers, steps = x.new_zeros(len(x), stack.transition[-1]), [], []
    for symbols in x.unbind(1):
        h, of_f = _forward(f, torch.cat([h, symbols], 1), activation)
        answer, of_g = _forward(g, h, activation)
        answers.append(answer)
        steps.append((of_f, of_g))
    return torch.stack(answers, 1), steps


def jacobian(stack: Recurrent, x: Float[Tensor, "sequences times in"]) -> Float[Tensor, "residuals parameters"]:
    """Derivatives of all answers (sequences, times, outputs), flattened, of a stack of one member by its parameters.

    Backpropagation through time, every answer for itself; the answers of a sequence are traced back together.
    """
    (f, g), (_, steps) = stack.layers(), _unrolled(stack, x)
    n, outputs = stack.transition[-1], stack.readout[-1]
    answers = torch.eye(len(steps) * outputs, dtype=x.dtype).unflatten(1, (-1, outputs)).unbind(1)
    ahead, slopes = x.new_zeros(1, 1, n), []
    for (of_f, of_g), answer in zip(reversed(steps), reversed(answers), strict=True):
        here, by_g = _backward(g, of_g, answer[None])
        ahead, by_f = _backward(f, of_f, ahead + here)
        ahead = ahead[..., :n]
        slopes.append(by_f + by_g)
    parts = []
    for taken, given in zip(zip(*(a + b for a, b in reversed(steps)), strict=True), zip(*slopes, strict=True), strict=True):
        given = torch.stack([part.expand(len(x), -1, -1) for part in given])
        parts += [torch.einsum("tsko,tsi->skoi", given, torch.stack([act for act, _ in taken])).flatten(2), given.sum(0)]
    return torch.cat(parts, 2).flatten(0, 1)


def polish(
    stack: Recurrent,
    x: Float[Tensor, "sequences times in"],
    y: Float[Tensor, "sequences times out"],
    *,
    price: float = 0.0,
    free: Bool[Tensor, " parameters"] | None = None,
) -> Recurrent:
    """Levenberg-Marquardt on one network in float64: sequences x (S, T, d), targets y (S, T, o). Returns the network.

    Adam leaves a small network near an exact solution; this goes all the way, since the residuals can be zero.

    Args:
        stack: a `kernels.rnn.Recurrent` of one member.
        x, y: floating tensors.
        price: of the sum of all |parameters|, added to the mean square of the residuals (L1).
        free: bool mask (parameters,) of those that may move; None for all.
    """
    x, y, base = x.double(), y.double(), stack.theta.double()
    free = torch.ones(len(base), dtype=torch.bool) if free is None else free
    place = torch.eye(len(base), dtype=base.dtype)[free]
    weight = (price * y.numel()) ** 0.5

    def residuals(move):  # (free parameters,) -> (residuals,)
        theta = base + move @ place
        r = (_unrolled(replace(stack, theta=theta), x)[0] - y).flatten()
        return torch.cat([r, weight * (theta.square() + ROUND) ** 0.25]) if price else r

    def slopes(_, moves):
        theta = base + moves[0] @ place
        J = jacobian(replace(stack, theta=theta), x)
        if price:
            J = torch.cat([J, torch.diag(weight / 2 * theta * (theta.square() + ROUND) ** -0.75)])
        return J[None, :, free]

    moves, _ = levenberg_marquardt(residuals, 0 * base[None, free], POLISH, jacobian=slopes, least=1e-3)
    return replace(stack, theta=(base + moves[0] @ place).to(stack.theta.dtype))


def polished(
    net: Network,
    x: Int[np.ndarray, "sequences times inputs"],
    y: Int[np.ndarray, "sequences times outputs"],
    *,
    price: float = 0.0,
    freeze: bool = False,
) -> Network:
    """A `Network` on plain numbers after `polish` on whole numbers x (S, T, inputs), y (S, T, o), y in units of the largest.

    With `freeze` parameters that are exactly 0 stay so.
    """
    parts = [*net.transition, *net.readout]
    theta = torch.from_numpy(np.concatenate([part.ravel() for layer in parts for part in layer])).double()
    sizes = [(layers[0][0].shape[1], *(len(b) for _, b in layers)) for layers in (net.transition, net.readout)]
    stack = Recurrent(theta, 1, *sizes, net.activation)
    free = theta != 0 if freeze else None
    data = (torch.from_numpy(np.asarray(part, float)) for part in (x, y))
    done = network(polish(stack, *data, price=price * float(abs(y).max()) ** 2, free=free), 0)
    return replace(done, start=net.start)
