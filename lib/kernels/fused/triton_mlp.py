"""Fused training on a GPU: one Triton program trains one member, its parameters in registers for all steps.

For MLPs with one hidden layer. The kernel has been held to the reference through Triton's interpreter only, not yet on a
card, so it runs where BLACKBOX_ENGINE asks for it and nowhere else.
"""

import torch
import triton
import triton.language as tl

from ..mlp import Regression, parameter_count
from ..optimisers import SGD, Adam, AdamW

LARGEST = 1 << 15  # points × hidden neurons that one program holds
LOSSES = {"mse": 0, "bce": 1, "cross_entropy": 2}


@triton.jit
def _sigmoid(h):
    return 1 / (1 + tl.exp(-h))


@triton.jit
def _activate(h, ACTIVATION: tl.constexpr):
    """Activation and slope."""
    if ACTIVATION == "silu":
        s = _sigmoid(h)
        a = h * s
        return a, s + a * (1 - s)
    elif ACTIVATION == "relu":
        return tl.where(h < 0, 0.0, h), tl.where(h > 0, 1.0, 0.0)
    elif ACTIVATION == "leaky_relu":
        s = tl.where(h > 0, tl.full(h.shape, 1, h.dtype), tl.full(h.shape, 0.01, h.dtype))
        return h * s, s
    elif ACTIVATION == "tanh":
        a = 2 * _sigmoid(2 * h) - 1
        return a, 1 - a * a
    else:
        phi = 0.5 * (1 + tl.erf(h * 0.7071067811865476))
        return h * phi, phi + h * 0.3989422804014327 * tl.exp(-0.5 * h * h)


@triton.jit
def _move(p, m, v, g, rate, decay, factor, fix1, fix2, beta1, beta2, eps, ADAM: tl.constexpr, DECOUPLED: tl.constexpr):
    """Parameters and moments after one step; for SGD beta1 is the momentum and v is not used."""
    if DECOUPLED:
        p = p * (1 - factor * rate * decay)
    else:
        g += decay * p
    if ADAM:
        m += (1 - beta1) * (g - m)
        v = beta2 * v + (1 - beta2) * g * g
        p -= factor * rate * fix1 * m / (tl.sqrt(v * fix2) + eps)
    else:
        m = beta1 * m + g
        p -= factor * rate * m
    return p, m, v


@triton.jit
def _train(
    theta, first, second, rates, decays, table, x, y, w, losses, gradient,
    stride, steps, points, inputs, hidden, outputs, x_member, y_member, w_member,
    P: tl.constexpr, IN: tl.constexpr, H: tl.constexpr, OUT: tl.constexpr,
    ACTIVATION: tl.constexpr, LOSS: tl.constexpr, ADAM: tl.constexpr, DECOUPLED: tl.constexpr, CLIP: tl.constexpr,
    EVALUATE: tl.constexpr,
):  # fmt: skip
    # `table` holds beta1, beta2, eps, clip, then for each step the schedule's factor and 1/(1 - beta^t) for both betas.
    # Blocks are (points P, hidden H, inputs IN or outputs OUT), powers of two, masked beyond the true sizes.
    member = tl.program_id(0)
    i, o, h, p = tl.arange(0, IN), tl.arange(0, OUT), tl.arange(0, H), tl.arange(0, P)
    real_h, real_o, real_p = h < hidden, o < outputs, p < points
    at_b1 = member * stride + hidden * inputs + h
    at_w1, in_w1 = member * stride + h[:, None] * inputs + i[None, :], real_h[:, None] & (i < inputs)[None, :]
    at_w2 = member * stride + hidden * (inputs + 1) + o[None, :] * hidden + h[:, None]
    in_w2 = real_h[:, None] & real_o[None, :]
    at_b2 = member * stride + hidden * (inputs + 1 + outputs) + o

    X = tl.load(x + member * x_member + p[:, None] * inputs + i[None, :], real_p[:, None] & (i < inputs)[None, :], 0)
    weight = tl.load(w + member * w_member + p, real_p, 0)[:, None]
    if LOSS == 2:
        Y = tl.load(y + member * y_member + p, real_p, 0)[:, None] == o[None, :]
        Y = Y.to(X.dtype)
    else:
        weight /= outputs
        Y = tl.load(y + member * y_member + p[:, None] * outputs + o[None, :], real_p[:, None] & real_o[None, :], 0)

    W1, b1 = tl.load(theta + at_w1, in_w1, 0), tl.load(theta + at_b1, real_h, 0)
    W2, b2 = tl.load(theta + at_w2, in_w2, 0), tl.load(theta + at_b2, real_o, 0)
    mW1, mb1 = tl.load(first + at_w1, in_w1, 0), tl.load(first + at_b1, real_h, 0)
    mW2, mb2 = tl.load(first + at_w2, in_w2, 0), tl.load(first + at_b2, real_o, 0)
    vW1, vb1 = tl.load(second + at_w1, in_w1, 0), tl.load(second + at_b1, real_h, 0)
    vW2, vb2 = tl.load(second + at_w2, in_w2, 0), tl.load(second + at_b2, real_o, 0)
    rW1, rb1 = tl.load(rates + at_w1, in_w1, 0), tl.load(rates + at_b1, real_h, 0)
    rW2, rb2 = tl.load(rates + at_w2, in_w2, 0), tl.load(rates + at_b2, real_o, 0)
    dW1, db1 = tl.load(decays + at_w1, in_w1, 0), tl.load(decays + at_b1, real_h, 0)
    dW2, db2 = tl.load(decays + at_w2, in_w2, 0), tl.load(decays + at_b2, real_o, 0)

    beta1, beta2, eps, clip = tl.load(table), tl.load(table + 1), tl.load(table + 2), tl.load(table + 3)
    k = 0
    while k < steps:  # Triton's interpreter cannot count to a number known at run time
        pre = tl.sum(X[:, None, :] * W1[None, :, :], 2) + b1[None, :]
        a, slope = _activate(pre, ACTIVATION)
        f = tl.sum(a[:, :, None] * W2[None, :, :], 1) + b2[None, :]
        if LOSS == 0:
            each = (f - Y) * (f - Y)
            delta = 2 * (f - Y)
        elif LOSS == 1:
            each = tl.maximum(f, 0) - f * Y + tl.log(1 + tl.exp(-tl.abs(f)))
            delta = _sigmoid(f) - Y
        else:
            f = tl.where(real_o[None, :], f, float("-inf"))
            top = tl.max(f, 1)[:, None]
            total = tl.sum(tl.exp(f - top), 1)[:, None]
            each = Y * (top + tl.log(total) - tl.where(real_o[None, :], f, 0))
            delta = tl.exp(f - top) / total - Y
        delta = tl.where(real_o[None, :], delta * weight, 0)
        back = tl.where(real_h[None, :], tl.sum(delta[:, None, :] * W2[None, :, :], 2) * slope, 0)
        gW2, gb2 = tl.sum(delta[:, None, :] * a[:, :, None], 0), tl.sum(delta, 0)
        gW1, gb1 = tl.sum(back[:, :, None] * X[:, None, :], 0), tl.sum(back, 0)
        if EVALUATE:
            tl.store(losses + member, tl.sum(tl.where(real_o[None, :], each, 0) * weight))
            tl.store(gradient + at_w1, gW1, in_w1)
            tl.store(gradient + at_b1, gb1, real_h)
            tl.store(gradient + at_w2, gW2, in_w2)
            tl.store(gradient + at_b2, gb2, real_o)
        else:
            if CLIP:
                gW2 = tl.where(in_w2, gW2, 0)
                norm = tl.sqrt(tl.sum(gW1 * gW1) + tl.sum(gb1 * gb1) + tl.sum(gW2 * gW2) + tl.sum(gb2 * gb2))
                scale = tl.minimum(clip / (norm + 1e-6), 1.0)
                gW1, gb1, gW2, gb2 = gW1 * scale, gb1 * scale, gW2 * scale, gb2 * scale
            now = table + 4 + 3 * k
            factor, fix1, fix2 = tl.load(now), tl.load(now + 1), tl.load(now + 2)
            W1, mW1, vW1 = _move(W1, mW1, vW1, gW1, rW1, dW1, factor, fix1, fix2, beta1, beta2, eps, ADAM, DECOUPLED)
            b1, mb1, vb1 = _move(b1, mb1, vb1, gb1, rb1, db1, factor, fix1, fix2, beta1, beta2, eps, ADAM, DECOUPLED)
            W2, mW2, vW2 = _move(W2, mW2, vW2, gW2, rW2, dW2, factor, fix1, fix2, beta1, beta2, eps, ADAM, DECOUPLED)
            b2, mb2, vb2 = _move(b2, mb2, vb2, gb2, rb2, db2, factor, fix1, fix2, beta1, beta2, eps, ADAM, DECOUPLED)
        k += 1

    if not EVALUATE:
        tl.store(theta + at_w1, W1, in_w1)
        tl.store(theta + at_b1, b1, real_h)
        tl.store(theta + at_w2, W2, in_w2)
        tl.store(theta + at_b2, b2, real_o)
        tl.store(first + at_w1, mW1, in_w1)
        tl.store(first + at_b1, mb1, real_h)
        tl.store(first + at_w2, mW2, in_w2)
        tl.store(first + at_b2, mb2, real_o)
        tl.store(second + at_w1, vW1, in_w1)
        tl.store(second + at_b1, vb1, real_h)
        tl.store(second + at_w2, vW2, in_w2)
        tl.store(second + at_b2, vb2, real_o)


def supports(model, optimiser):
    """Whether this kernel can train `model` with `optimiser`."""
    if type(model) is not Regression or type(optimiser) not in (Adam, AdamW, SGD):
        return False
    power = triton.next_power_of_2
    return (
        (model.theta.is_cuda or triton.knobs.runtime.interpret)
        and model.theta.dtype in (torch.float32, torch.float64)
        and all(
            len(s) == 3 and power(model.x.shape[-2]) * power(s[1]) * power(max(s[0], s[2])) <= LARGEST
            for _, s in model.stack.groups
        )
    )


def advance(model, state, steps):
    """`steps` updates of `state`, an `optimisers.State`, in place."""
    o, ahead = state.optimiser, range(state.t, state.t + steps)
    adam = isinstance(o, Adam)
    betas = o.betas if adam else (0.0, 0.0)
    table = [o.betas[0] if adam else o.momentum, betas[1], o.eps if adam else 0.0, o.clip or 0.0]
    for t in ahead:
        table += [o.factor(t), *(1 / (1 - beta ** (t + 1)) for beta in betas)]
    like = {"dtype": state.theta.dtype, "device": state.theta.device}
    spread = [torch.as_tensor(v, **like).expand_as(state.theta).contiguous() for v in (state.rate, state.decay)]
    slots = [*state.slots, *(torch.zeros_like(state.theta) for _ in range(2 - len(state.slots)))]
    _launch(model, state.theta, o, slots, spread, torch.tensor(table, **like), steps)
    state.t += steps


def evaluate(model, theta, gradient=False):
    """Losses (members,) and, if asked for, the gradient (total,) at the packed `theta` (total,), else None."""
    losses, grad = theta.new_empty(len(model.sizes)), torch.empty_like(theta)
    _launch(model, theta.contiguous(), SGD(), [theta] * 2, [theta] * 2, theta, 1, losses, grad)
    return losses, grad if gradient else None


def _launch(model, theta, optimiser, slots, spread, table, steps, losses=None, gradient=None):
    points, evaluating = model.x.shape[-2], losses is not None
    w = theta.new_full((points,), 1 / points) if model.weight is None else model.weight
    data = [t.contiguous() for t in (model.x, model.y, w)]
    own = [model.x.dim() == 3, model.y.dim() == (2 if model.loss == "cross_entropy" else 3), w.dim() == 2]
    power = triton.next_power_of_2
    start = before = 0
    for members, sizes in model.stack.groups:
        (inputs, hidden, outputs), stride = sizes, parameter_count(sizes)
        span, rows = slice(start, start + members * stride), slice(before, before + members)
        start, before = span.stop, rows.stop
        x, y, w = (t[rows] if each else t for t, each in zip(data, own, strict=True))
        _train[(members,)](
            *(t[span] for t in (theta, *slots, *spread)), table, x, y, w,
            losses[rows] if evaluating else theta, gradient[span] if evaluating else theta,
            stride, steps, points, inputs, hidden, outputs,
            *(t[0].numel() if each else 0 for t, each in zip((x, y, w), own, strict=True)),
            power(points), power(inputs), power(hidden), power(outputs),
            model.stack.activation, LOSSES[model.loss], isinstance(optimiser, Adam), optimiser.decoupled,
            optimiser.clip is not None, evaluating,
        )  # fmt: skip
