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

POLISH = 12  # iterations, at most
ROUND = 1e-8  # added to squares of parameters under the root of the L1 price, so that its slope at 0 is finite


def _forward(layers, h, activation):
    """Outputs (…, out) of an MLP of one member, and for each layer its inputs before and after the activation."""
    kept = []
    for depth, (W, b) in enumerate(layers):
        act = activation[0](h) if depth else h
        kept.append((h, act))
        h = act @ W[0].T + b[0]
    return h, kept


def _backward(layers, kept, slope, activation):
    """From derivatives (…, K, out) by the outputs: those by the inputs, and a list of those by each layer's outputs."""
    slopes = []
    for depth, ((W, _), (h, act)) in reversed(list(enumerate(zip(layers, kept, strict=True)))):
        slopes.insert(0, slope)
        slope = slope @ W[0]
        slope = slope * activation[1](h, act)[..., None, :] if depth else slope
    return slope, slopes


def _unrolled(stack, x):
    """Answers (S, T, o) of a stack of one member, and what `_forward` keeps: of f for each step, and of g for all."""
    f, g = stack.layers()
    activation = ACTIVATIONS[stack.activation]
    h, states, steps = x.new_zeros(len(x), stack.transition[-1]), [], []
    for symbols in x.unbind(1):
        h, kept = _forward(f, torch.cat([h, symbols], 1), activation)
        states.append(h)
        steps.append(kept)
    return *_forward(g, torch.stack(states, 1), activation), steps


def jacobian(stack: Recurrent, x: Float[Tensor, "sequences times in"]) -> Float[Tensor, "residuals parameters"]:
    """Derivatives of all answers (sequences, times, outputs), flattened, of a stack of one member by its parameters.

    Backpropagation through time, every answer for itself; the answers of a sequence are traced back together.
    """
    (f, g), activation = stack.layers(), ACTIVATIONS[stack.activation]
    n, o = stack.transition[-1], stack.readout[-1]
    answers, of_g, steps = _unrolled(stack, x)
    here, by_g = _backward(g, of_g, torch.eye(o, dtype=x.dtype).expand(*answers.shape, o), activation)
    ahead, by_f = x.new_zeros(len(x), answers[0].numel(), n), []
    for t in reversed(range(len(steps))):
        ahead[:, t * o : (t + 1) * o] = here[:, t]
        ahead, slopes = _backward(f, steps[t], ahead, activation)
        ahead = ahead[..., :n]
        by_f.insert(0, slopes)
    parts = []
    for kept, slopes in zip(zip(*steps, strict=True), zip(*by_f, strict=True), strict=True):
        slope = torch.stack(slopes)
        parts += [torch.einsum("tsko,tsi->skoi", slope, torch.stack([act for _, act in kept])).flatten(2), slope.sum(0)]
    for (_, act), slope in zip(of_g, by_g, strict=True):
        parts += [torch.einsum("stko,sti->stkoi", slope, act).flatten(1, 2).flatten(2), slope.flatten(1, 2)]
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
