"""Fused training on the CPU: hands a model, its data and its optimiser's state to the C++ kernels."""

import ctypes
from ctypes import POINTER, c_double, c_int64, c_void_p

import torch
import torch.nn.functional as F

from ..mlp import Regression
from ..optimisers import SGD, Adam, AdamW
from ..rate import RateTraining
from ..rnn import Sequences
from .build import library

ACTIVATIONS = ("silu", "relu", "leaky_relu", "tanh", "gelu")  # in the order of net.h
LOSSES = ("mse", "bce", "cross_entropy", "log")
MAX_LAYERS = 5


def _structure(name, layout):
    """A ctypes structure from "type: names" lines: i whole number, d floating, p pointer, n pointer to whole numbers."""
    kinds = {"i": c_int64, "d": c_double, "p": c_void_p, "n": POINTER(c_int64)}
    fields = []
    for kind, names in layout:
        fields += [(field, kinds.get(kind, kind)) for field in names.split()]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


_Optimiser = _structure(
    "Optimiser",
    [
        ("i", "adam decoupled"),
        ("d", "rate decay clip beta1 beta2 eps momentum"),
        ("p", "factors unbias1 unbias2 rates decays m v"),
    ],
)
_Mlp = _structure(
    "Mlp",
    [
        ("i", "groups steps threads points activation loss"),
        ("n", "members layers sizes"),
        ("p", "x y w"),
        ("i", "x_member y_member w_member"),
        ("p", "theta losses gradient"),
        (_Optimiser, "optimiser"),
    ],
)
_Rnn = _structure(
    "Rnn",
    [
        ("i", "members steps threads activation loss sequences length batch f_layers g_layers"),
        ("n", "f_sizes g_sizes"),
        ("p", "picks x y theta losses gradient"),
        (_Optimiser, "optimiser"),
    ],
)
_Rate = _structure(
    "Rate",
    [
        ("i", "members steps threads units inputs outputs"),
        ("n", "times counts"),
        ("p", "x noise y w price scales free theta losses gradient"),
        (_Optimiser, "optimiser"),
    ],
)


def supports(model, optimiser):
    """Whether these kernels can train `model` with `optimiser`."""
    if type(model) is Regression:
        deepest = max(len(sizes) for _, sizes in model.stack.groups) - 1
    elif type(model) is Sequences:
        deepest = max(len(model.stack.transition), len(model.stack.readout)) - 1
    elif type(model) is RateTraining:
        deepest = 0
    else:
        return False
    return (
        model.theta.device.type == "cpu"
        and model.theta.dtype in (torch.float32, torch.float64)
        and deepest <= MAX_LAYERS
        and type(optimiser) in (Adam, AdamW, SGD)
        and library() is not None
    )


def advance(model, state, steps):
    """`steps` updates of `state`, an `optimisers.State`, in place."""
    o, ahead = state.optimiser, torch.arange(state.t, state.t + steps, dtype=torch.float64)
    adam = isinstance(o, Adam)
    betas = o.betas if adam else (0.0, 0.0)
    factors = torch.ones_like(ahead)
    if o.schedule is not None:
        factors = torch.tensor([o.factor(t) for t in range(state.t, state.t + steps)], dtype=torch.float64)
    table = torch.stack([factors, *(1 / (1 - beta ** (ahead + 1)) for beta in betas)])
    arrays = [v.contiguous() if isinstance(v, torch.Tensor) else None for v in (state.rate, state.decay)]
    numbers = [0.0 if isinstance(v, torch.Tensor) else float(v) for v in (state.rate, state.decay)]
    optimiser = _Optimiser(
        adam, o.decoupled, *numbers, o.clip or 0.0, *betas, o.eps if adam else 0.0, 0.0 if adam else o.momentum,
        *(row.data_ptr() for row in table), *map(_pointer, arrays), *map(_pointer, (*state.slots, None, None)[:2]),
    )  # fmt: skip
    _run(model, state.theta, optimiser, state.t, steps, None, None)
    state.t += steps


def evaluate(model, theta, gradient=False):
    """Losses (members,) at the packed `theta` (total,) on all data, and the gradient (total,) if asked for, else None."""
    losses = theta.new_empty(len(model.sizes))
    grad = torch.empty_like(theta) if gradient else None
    _run(model, theta.contiguous(), _Optimiser(), 0, 0, losses, grad)
    return losses, grad


def _pointer(tensor):
    return None if tensor is None else tensor.data_ptr()


def _whole(numbers):
    return (c_int64 * len(numbers))(*numbers)


def _run(model, theta, optimiser, first, steps, losses, gradient):
    kernel, fill = {Regression: ("mlp", _mlp), Sequences: ("rnn", _rnn), RateTraining: ("rate", _rate)}[type(model)]
    job, keep = fill(model, first, steps)
    job.steps, job.threads, job.optimiser = steps, torch.get_num_threads(), optimiser
    job.theta, job.losses, job.gradient = theta.data_ptr(), _pointer(losses), _pointer(gradient)
    getattr(library(), f"{kernel}_{'float' if theta.dtype == torch.float32 else 'double'}")(ctypes.byref(job))
    del keep  # the tensors and arrays that `job` points into


def _mlp(model, first, steps):
    groups, like = model.stack.groups, model.theta
    points = model.x.shape[-2]
    padding = -points % library().lanes_float()  # also right for double, whose lanes are half as many
    x, y = model.x, model.y
    y = y.to(like.dtype)[..., None] if model.loss == "cross_entropy" else y
    w = like.new_full((points,), 1 / points) if model.weight is None else model.weight
    x, y, w = (F.pad(t, (0, padding)).contiguous() for t in (x.mT, y.mT, w))
    sizes = [list(s) + [0] * (MAX_LAYERS + 1 - len(s)) for _, s in groups]
    job = _Mlp(
        groups=len(groups), points=points + padding,
        activation=ACTIVATIONS.index(model.stack.activation), loss=LOSSES.index(model.loss),
        members=_whole([m for m, _ in groups]), layers=_whole([len(s) - 1 for _, s in groups]),
        sizes=_whole([s for row in sizes for s in row]), x=x.data_ptr(), y=y.data_ptr(), w=w.data_ptr(),
        x_member=x[0].numel() if x.dim() == 3 else 0, y_member=y[0].numel() if y.dim() == 3 else 0,
        w_member=w.shape[1] if w.dim() == 2 else 0,
    )  # fmt: skip
    return job, (x, y, w)


def _rnn(model, first, steps):
    stack, (sequences, length, _) = model.stack, model.x.shape
    picks = model.picks(first, first + steps) if steps else None
    x, y = model.x.contiguous(), model.y.contiguous()
    job = _Rnn(
        members=stack.members, activation=ACTIVATIONS.index(stack.activation), loss=LOSSES.index(model.loss),
        sequences=sequences, length=length, batch=model.batch or sequences,
        f_layers=len(stack.transition) - 1, g_layers=len(stack.readout) - 1,
        f_sizes=_whole(stack.transition), g_sizes=_whole(stack.readout),
        picks=_pointer(picks), x=x.data_ptr(), y=y.data_ptr(),
    )  # fmt: skip
    return job, (picks, x, y)


def _rate(model, first, steps):
    like, lanes = model.theta, library().lanes_float()
    start = first - model.start if steps else 0
    here, counts, rows = model.trials[start : start + max(steps, 1)], [], []
    for trials in here:  # as columns, those of each time padded to whole vectors with weight 0
        real = torch.tensor(trials.counts)
        wide = -(-real // lanes) * lanes
        place = torch.arange(len(trials.y)) + torch.repeat_interleave((wide - real).cumsum(0) - (wide - real), real)
        y, w = trials.y.to(like.dtype)[:, None], like.new_full((len(place), 1), 1 / len(place))
        noise = like.new_zeros(len(place), 0) if trials.noise is None else trials.noise
        blank = [like.new_zeros(t.shape[1], int(wide.sum())) for t in (trials.x, noise, y, w)]
        rows.append([b.index_copy_(1, place, t.T) for b, t in zip(blank, (trials.x, noise, y, w), strict=True)])
        counts += wide.tolist()
    x, noise, y, w = (torch.cat([t.flatten() for t in each]) for each in zip(*rows, strict=True))
    scales = torch.tensor([model.scale(model.start + start + k) for k in range(len(here))], dtype=like.dtype)
    price, free = (t if t is None else t.contiguous() for t in (model.price, model.free))
    job = _Rate(
        members=len(model.sizes), units=model.stack.units, inputs=model.stack.inputs, outputs=model.stack.outputs,
        times=_whole([len(trials.counts) for trials in here]), counts=_whole(counts), x=x.data_ptr(),
        noise=None if not len(noise) else noise.data_ptr(), y=y.data_ptr(), w=w.data_ptr(),
        price=_pointer(price), scales=scales.data_ptr(), free=_pointer(free),
    )  # fmt: skip
    return job, (x, noise, y, w, price, scales, free)
