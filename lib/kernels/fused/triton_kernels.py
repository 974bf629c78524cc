"""Fused training on a GPU: one Triton program trains one member after another, each for many steps in one launch.

A member's parameters and moments stay in global memory and so do the activations of one block of points: they are small,
are read and written by one multiprocessor alone, and lie in its caches. Float32, layers up to `WIDEST` wide. No atomics: the
same input gives the same bits. The kernels are held to the reference through Triton's interpreter and compile for compute
capability 9.0; they have not yet been run and timed on a card.
"""

from itertools import pairwise
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from ..mlp import parameter_count
from ..optimisers import SGD, Adam, AdamW, Optimiser, State
from ..problems import LOSSES

WIDEST = 128
TILE = 2048  # numbers in a block of points at the widest layer, at most: larger ones compile for minutes
PROGRAMS = 1024  # at once; each takes every PROGRAMS-th member and has its own working memory
FLAT = 512  # parameters moved at once by the optimiser
DEEPEST = 4  # layers of an MLP, the last included


@triton.jit
def _sigmoid(h):
    return 1 / (1 + tl.exp(-h))


@triton.jit
def _activate(h, ACTIVATION: tl.constexpr):
    """Activation and slope."""
    if ACTIVATION == "silu":
        s = _sigmoid(h)
        a = h * s
        slope = s + a * (1 - s)
    elif ACTIVATION == "relu":
        a = tl.where(h < 0, 0.0, h)
        slope = tl.where(h > 0, 1.0, 0.0)
    elif ACTIVATION == "leaky_relu":
        slope = tl.where(h > 0, 1.0, 0.01)
        a = h * slope
    elif ACTIVATION == "tanh":
        a = 2 * _sigmoid(2 * h) - 1
        slope = 1 - a * a
    else:
        phi = 0.5 * (1 + tl.erf(h * 0.7071067811865476))
        a = h * phi
        slope = phi + h * 0.3989422804014327 * tl.exp(-0.5 * h * h)
    return a, slope


@triton.jit
def _matrix(at, rows, columns, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Addresses (ROWS, COLUMNS) of a matrix with `stride` numbers a row, and which of them are real."""
    r, c = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    return at + r * stride + c, (r < rows) & (c < columns)


@triton.jit
def _dot(a, b):
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _forward(h, theta, work, NET: tl.constexpr, P: tl.constexpr, ACTIVATION: tl.constexpr):
    """Outputs (P, padded) of one MLP at its inputs h (P, padded); hidden activations and slopes go to `work`.

    NET holds for each layer (inputs, outputs, both padded, where its parameters start, where its activations start).
    """
    for depth in tl.static_range(len(NET)):
        inputs, outputs = NET[depth][0], NET[depth][1]
        at, real = _matrix(theta + NET[depth][4], outputs, inputs, inputs, NET[depth][3], NET[depth][2])
        o = tl.arange(0, NET[depth][3])
        bias = tl.load(theta + NET[depth][4] + outputs * inputs + o, o < outputs, 0)
        h = _dot(h, tl.trans(tl.load(at, real, 0))) + bias[None, :]
        if depth + 1 < len(NET):
            h, slope = _activate(h, ACTIVATION)
            slot, _ = _matrix(work + NET[depth][5], P, outputs, NET[depth][3], P, NET[depth][3])
            tl.store(slot, h)
            tl.store(slot + P * NET[depth][3], slope)
    return h


@triton.jit
def _backward(x, delta, theta, grad, work, NET: tl.constexpr, P: tl.constexpr):
    """Adds the gradient of one MLP to `grad` and returns the derivatives (P, padded) by its first pre-activations.

    `x` are its inputs (P, padded), `delta` the derivatives by its outputs, `work` what `_forward` left.
    """
    tl.debug_barrier()
    for depth in tl.static_range(len(NET) - 1, -1, -1):
        inputs, outputs = NET[depth][0], NET[depth][1]
        if depth > 0:
            slot, _ = _matrix(work + NET[depth - 1][5], P, inputs, NET[depth][2], P, NET[depth][2])
            a = tl.load(slot)
        else:
            a = x
        at, real = _matrix(grad + NET[depth][4], outputs, inputs, inputs, NET[depth][3], NET[depth][2])
        tl.store(at, tl.load(at, real, 0) + _dot(tl.trans(delta), a), real)
        o = tl.arange(0, NET[depth][3])
        bias = grad + NET[depth][4] + outputs * inputs + o
        tl.store(bias, tl.load(bias, o < outputs, 0) + tl.sum(delta, 0), o < outputs)
        if depth > 0:
            weights, real = _matrix(theta + NET[depth][4], outputs, inputs, inputs, NET[depth][3], NET[depth][2])
            delta = _dot(delta, tl.load(weights, real, 0)) * tl.load(slot + P * NET[depth][2])
    tl.debug_barrier()
    return delta


@triton.jit
def _by_inputs(delta, theta, NET: tl.constexpr, ROWS, PADDED: tl.constexpr):
    """Derivatives (P, PADDED) by the first ROWS inputs of an MLP, from what `_backward` returned."""
    weights, real = _matrix(theta + NET[0][4], NET[0][1], ROWS, NET[0][0], NET[0][3], PADDED)
    return _dot(delta, tl.load(weights, real, 0))


@triton.jit
def _loss(f, Y, weight, real, LOSS: tl.constexpr):
    """Losses of outputs f (P, padded), and their derivatives, both times `weight` (P, 1) and 0 where not `real`."""
    if LOSS == 0:
        each = (f - Y) * (f - Y)
        delta = 2 * (f - Y)
    elif LOSS == 1:
        each = tl.maximum(f, 0) - f * Y + tl.log(1 + tl.exp(-tl.abs(f)))
        delta = _sigmoid(f) - Y
    elif LOSS == 2:
        f = tl.where(real, f, float("-inf"))
        top = tl.max(f, 1)[:, None]
        total = tl.sum(tl.exp(f - top), 1)[:, None]
        each = Y * (top + tl.log(total) - tl.where(real, f, 0))
        delta = tl.exp(f - top) / total - Y
    else:
        square = (f - Y) * (f - Y)
        each = 0.5 * tl.log(1 + square)
        delta = (f - Y) / (1 + square)
    return tl.where(real, each * weight, 0), tl.where(real, delta * weight, 0)


@triton.jit
def _step(
    theta, grad, first, second, rates, decays, table, now, count,
    B: tl.constexpr, ADAM: tl.constexpr, DECOUPLED: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """Moves `count` parameters along `grad`, which becomes 0. `table` holds beta1, beta2, eps, clip; `now` the schedule's
    factor and 1/(1 - beta^t) for both betas. For SGD beta1 is the momentum and `second` is not used."""
    tl.debug_barrier()
    beta1, beta2, eps, clip = tl.load(table), tl.load(table + 1), tl.load(table + 2), tl.load(table + 3)
    factor, fix1, fix2 = tl.load(now), tl.load(now + 1), tl.load(now + 2)
    squares = tl.zeros((B,), tl.float32)
    if CLIP:
        start = 0
        while start < count:
            at = start + tl.arange(0, B)
            g = tl.load(grad + at, at < count, 0)
            squares += g * g
            start += B
        scale = tl.minimum(clip / (tl.sqrt(tl.sum(squares)) + 1e-6), 1.0)
    else:
        scale = 1.0
    start = 0
    while start < count:
        at = start + tl.arange(0, B)
        real = at < count
        p, g = tl.load(theta + at, real, 0), tl.load(grad + at, real, 0) * scale
        m, rate, decay = tl.load(first + at, real, 0), tl.load(rates + at, real, 0), tl.load(decays + at, real, 0)
        if DECOUPLED:
            p = p * (1 - factor * rate * decay)
        else:
            g += decay * p
        if ADAM:
            m += (1 - beta1) * (g - m)
            v = beta2 * tl.load(second + at, real, 0) + (1 - beta2) * g * g
            p -= factor * rate * fix1 * m / (tl.sqrt(v * fix2) + eps)
            tl.store(second + at, v, real)
        else:
            m = beta1 * m + g
            p -= factor * rate * m
        tl.store(first + at, m, real)
        tl.store(theta + at, p, real)
        tl.store(grad + at, tl.zeros((B,), tl.float32), real)
        start += B
    tl.debug_barrier()


@triton.jit
def _mlp(
    theta, grad, first, second, rates, decays, table, work, x, y, w, losses,
    members, count, work_size, steps, points, x_member, y_member, w_member,
    NET: tl.constexpr, P: tl.constexpr, B: tl.constexpr, ACTIVATION: tl.constexpr, LOSS: tl.constexpr,
    ADAM: tl.constexpr, DECOUPLED: tl.constexpr, CLIP: tl.constexpr, EVALUATE: tl.constexpr,
):  # fmt: skip
    """Trains MLPs; with EVALUATE only leaves losses and gradients."""
    work += tl.program_id(0).to(tl.int64) * work_size
    inputs: tl.constexpr = NET[0][0]
    outputs: tl.constexpr = NET[len(NET) - 1][1]
    i, o = tl.arange(0, NET[0][2])[None, :], tl.arange(0, NET[len(NET) - 1][3])[None, :]
    member = tl.program_id(0).to(tl.int64)
    while member < members:
        own = member * count
        k = 0
        while k < steps:
            total = tl.zeros((P,), tl.float32)
            start = 0
            while start < points:
                p = start + tl.arange(0, P)[:, None]
                real = (p < points) & (o < outputs)
                X = tl.load(x + member * x_member + p * inputs + i, (p < points) & (i < inputs), 0)
                weight = tl.load(w + member * w_member + p, p < points, 0)
                if LOSS == 2:
                    Y = (tl.load(y + member * y_member + p, p < points, 0) == o).to(tl.float32)
                else:
                    weight /= outputs
                    Y = tl.load(y + member * y_member + p * outputs + o, real, 0)
                f = _forward(X, theta + own, work, NET, P, ACTIVATION)
                each, delta = _loss(f, Y, weight, o < outputs, LOSS)
                total += tl.sum(each, 1)
                _backward(X, delta, theta + own, grad + own, work, NET, P)
                start += P
            if EVALUATE:
                tl.store(losses + member, tl.sum(total))
            else:
                _step(
                    theta + own, grad + own, first + own, second + own, rates + own, decays + own,
                    table, table + 4 + 3 * k, count, B, ADAM, DECOUPLED, CLIP,
                )  # fmt: skip
            k += 1
        member += tl.num_programs(0)


@triton.jit
def _rnn(
    theta, grad, first, second, rates, decays, table, work, x, y, picks, losses,
    members, count, work_size, steps, batch, length,
    F: tl.constexpr, G: tl.constexpr, G_AT: tl.constexpr, P: tl.constexpr, B: tl.constexpr, F_WORK: tl.constexpr,
    ACTIVATION: tl.constexpr, LOSS: tl.constexpr,
    ADAM: tl.constexpr, DECOUPLED: tl.constexpr, CLIP: tl.constexpr, EVALUATE: tl.constexpr,
):  # fmt: skip
    """Trains RNNs: forward through time, then back, where the read-out is computed and its gradient taken.

    A program's `work` holds the hidden states of each position, (length, P, padded), for each position the activations of
    the transition, F_WORK numbers, and those of the read-out at one position.
    """
    work += tl.program_id(0).to(tl.int64) * work_size
    hidden: tl.constexpr = G[0][0]
    H: tl.constexpr = G[0][2]
    inputs: tl.constexpr = F[0][0] - hidden
    outputs: tl.constexpr = G[len(G) - 1][1]
    in_f = work + length * P * H
    in_g = in_f + length * F_WORK
    r, h = tl.arange(0, P)[:, None], tl.arange(0, H)[None, :]
    u, o = tl.arange(0, F[0][2])[None, :], tl.arange(0, G[len(G) - 1][3])[None, :]
    member = tl.program_id(0).to(tl.int64)
    while member < members:
        f_at, f_grad = theta + member * count, grad + member * count
        g_at, g_grad = f_at + G_AT, f_grad + G_AT
        k = 0
        while k < steps:
            total = tl.zeros((P,), tl.float32)
            start = 0
            while start < batch:
                p = start + r
                sequence = tl.load(picks + k * batch + p, p < batch, 0) * length
                weight = tl.where(p < batch, 1.0, 0.0) / (batch * length * outputs)
                fresh = (p < batch) & (u >= hidden) & (u < hidden + inputs)
                t = 0
                while t < length:
                    tl.debug_barrier()
                    before = tl.load(work + (t - 1) * P * H + r * H + u, (u < hidden) & (t > 0), 0)
                    now = tl.load(x + (sequence + t) * inputs + u - hidden, fresh, 0)
                    state = _forward(before + now, f_at, in_f + t * F_WORK, F, P, ACTIVATION)
                    tl.store(work + t * P * H + r * H + h, state)
                    t += 1
                tl.debug_barrier()
                later = tl.zeros((P, H), tl.float32)  # derivatives by h_t from the positions after t
                t = length - 1
                while t >= 0:
                    state = tl.load(work + t * P * H + r * H + h)
                    f = _forward(state, g_at, in_g, G, P, ACTIVATION)
                    Y = tl.load(y + (sequence + t) * outputs + o, (p < batch) & (o < outputs), 0)
                    each, delta = _loss(f, Y, weight, o < outputs, LOSS)
                    total += tl.sum(each, 1)
                    delta = _backward(state, delta, g_at, g_grad, in_g, G, P)
                    later += _by_inputs(delta, g_at, G, hidden, H)
                    before = tl.load(work + (t - 1) * P * H + r * H + u, (u < hidden) & (t > 0), 0)
                    now = tl.load(x + (sequence + t) * inputs + u - hidden, fresh, 0)
                    delta = _backward(before + now, later, f_at, f_grad, in_f + t * F_WORK, F, P)
                    later = _by_inputs(delta, f_at, F, hidden, H)
                    t -= 1
                start += P
            if EVALUATE:
                tl.store(losses + member, tl.sum(total))
            else:
                own = member * count
                _step(
                    f_at, f_grad, first + own, second + own, rates + own, decays + own,
                    table, table + 4 + 3 * k, count, B, ADAM, DECOUPLED, CLIP,
                )  # fmt: skip
            k += 1
        member += tl.num_programs(0)


def supports(problem: Any, optimiser: Optimiser) -> bool:
    """Whether these kernels can train `problem` with `optimiser`."""
    if problem.kernel == "mlp":
        nets = [sizes for _, sizes in problem.stack.groups]
    elif problem.kernel == "rnn":
        nets = [problem.stack.transition, problem.stack.readout]
    else:
        return False
    return (
        (problem.theta.is_cuda or triton.knobs.runtime.interpret)
        and problem.theta.dtype == torch.float32
        and type(optimiser) in (Adam, AdamW, SGD)
        and all(len(sizes) - 1 <= DEEPEST and max(sizes) <= WIDEST for sizes in nets)
    )


def advance(problem: Any, state: State, steps: int) -> None:
    """`steps` updates of `state` in place."""
    o: Any = state.optimiser
    adam = isinstance(o, Adam)
    betas = o.betas if adam else (0.0, 0.0)
    table = [o.betas[0] if adam else o.momentum, betas[1], o.eps if adam else 0.0, o.clip or 0.0]
    for t in range(state.t, state.t + steps):
        table += [o.factor(t), *(1 / (1 - beta ** (t + 1)) for beta in betas)]
    like: dict[str, Any] = {"dtype": state.theta.dtype, "device": state.theta.device}
    spread = [torch.as_tensor(v, **like).expand_as(state.theta).contiguous() for v in (state.rate, state.decay)]
    slots = [*state.slots, *(torch.zeros_like(state.theta) for _ in range(2 - len(state.slots)))]
    packed = [state.theta, torch.zeros_like(state.theta), *slots, *spread]
    kind = {"ADAM": adam, "DECOUPLED": o.decoupled, "CLIP": o.clip is not None, "EVALUATE": False}
    picks = problem.picks(state.t, state.t + steps) if problem.kernel == "rnn" else None
    _launch(problem, packed, torch.tensor(table, **like), picks, None, steps, kind)
    state.t += steps


def evaluate(
    problem: Any, theta: Float[Tensor, " total"], gradient: bool = False
) -> tuple[Float[Tensor, " members"], Float[Tensor, " total"] | None]:
    """What is reported of `problem` at `theta`, and its gradient if asked for, else None."""
    losses, grad = theta.new_empty(len(problem.sizes)), torch.zeros_like(theta)
    kind = {"ADAM": False, "DECOUPLED": False, "CLIP": False, "EVALUATE": True}
    picks = torch.arange(len(problem.x))[None] if problem.kernel == "rnn" else None
    _launch(problem, [theta.contiguous(), grad, *[theta] * 4], theta, picks, losses, 1, kind)
    return losses, grad if gradient else None


def _padded(size):
    return max(16, triton.next_power_of_2(size))  # what tl.dot needs


def _net(sizes, block):
    """NET of `_forward` for blocks of `block` points, and the numbers of working memory it needs."""
    net, at, work = [], 0, 0
    for i, o in pairwise(sizes):
        net.append((i, o, _padded(i), _padded(o), at, work))
        at += (i + 1) * o
        work += 2 * block * _padded(o)
    return tuple(net), work


def _launch(problem, packed, table, picks, losses, steps, kind):
    """Launches the kernel of `problem`; `packed` are parameters, gradient, two moments, rates, decays, each (total,)."""
    theta, loss = packed[0], list(LOSSES).index(problem.loss)
    constants = {**kind, "LOSS": loss, "ACTIVATION": problem.stack.activation, "B": FLAT}
    losses = theta if losses is None else losses
    if problem.kernel == "rnn":
        stack, length, batch = problem.stack, problem.x.shape[1], picks.shape[1]
        block = min(_padded(batch), max(16, TILE // _padded(max(stack.transition + stack.readout))))
        (f, f_work), (g, g_work) = _net(stack.transition, block), _net(stack.readout, block)
        programs, size = min(stack.members, PROGRAMS), length * (block * g[0][2] + f_work) + g_work
        _rnn[(programs,)](
            *packed, table, theta.new_empty(programs * size), problem.x.contiguous(), problem.y.contiguous(),
            picks.to(theta.device), losses, stack.members, stack.count, size, steps, batch, length,
            F=f, G=g, G_AT=parameter_count(stack.transition), P=block, F_WORK=f_work, num_warps=8, **constants,
        )  # fmt: skip
        return
    points = problem.x.shape[-2]
    w = theta.new_full((points,), 1 / points) if problem.weight is None else problem.weight
    data = [t.contiguous() for t in (problem.x, problem.y, w)]
    own = problem.own
    start = before = 0
    for members, sizes in problem.stack.groups:
        block = min(_padded(points), max(16, TILE // _padded(max(sizes))))
        (net, work), count, programs = _net(sizes, block), parameter_count(sizes), min(members, PROGRAMS)
        span, rows = slice(start, start + members * count), slice(before, before + members)
        start, before = span.stop, rows.stop
        x, y, w = (t[rows] if each else t for t, each in zip(data, own, strict=True))
        strides = [t[0].numel() if each else 0 for t, each in zip((x, y, w), own, strict=True)]
        _mlp[(programs,)](
            *(t[span] for t in packed), table, theta.new_empty(programs * work), x, y, w,
            losses[rows] if kind["EVALUATE"] else losses, members, count, work, steps, points, *strides,
            NET=net, P=block, num_warps=8, **constants,
        )  # fmt: skip
