"""Fused training on the CPU: hands a problem, its data and its optimiser's state to the C++ kernels."""

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_double, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..embedding import MODES
from ..optimisers import SGD, Adam, AdamW, Optimiser, State
from ..problems import ACTIVATIONS, LOSSES
from .build import library

MAX_LAYERS = 6


def _structure(name, layout):
    """A ctypes structure from pairs (kind, names with spaces between).

    Kinds: "i" whole number, "d" floating, "p" pointer, "n" pointer to whole numbers, or another structure.
    """
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
        ("i", "groups steps threads points activation loss batch bytes"),
        ("n", "members layers sizes"),
        ("p", "picks counts x y w scale shift"),
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
_Embedding = _structure(
    "Embedding",
    [
        ("i", "groups steps threads points activation loss tokens dim mode"),
        ("n", "members layers sizes counts"),
        ("p", "i j y w theta losses gradient"),
        (_Optimiser, "optimiser"),
    ],
)


def supports(problem: Any, optimiser: Optimiser) -> bool:
    """Whether these kernels can train `problem` with `optimiser`."""
    return (
        problem.kernel in KERNELS
        and KERNELS[problem.kernel].layers(problem) <= MAX_LAYERS
        and problem.theta.device.type == "cpu"
        and problem.theta.dtype in (torch.float32, torch.float64)
        and type(optimiser) in (Adam, AdamW, SGD)
        and library() is not None
    )


def advance(problem: Any, state: State, steps: int) -> None:
    """`steps` updates of `state` in place."""
    o: Any = state.optimiser
    ahead = torch.arange(state.t, state.t + steps, dtype=torch.float64)
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
    _run(problem, state.theta, optimiser, state.t, steps, None, None)
    state.t += steps


def evaluate(
    problem: Any, theta: Float[Tensor, " total"], gradient: bool = False
) -> tuple[Float[Tensor, " members"], Float[Tensor, " total"] | None]:
    """What is reported of `problem` at `theta`, and its gradient if asked for, else None."""
    losses = theta.new_empty(len(problem.sizes))
    grad = torch.empty_like(theta) if gradient else None
    _run(problem, theta.contiguous(), _Optimiser(), 0, 0, losses, grad)
    return losses, grad


def _pointer(tensor):
    return None if tensor is None else tensor.data_ptr()


def _whole(numbers):
    return (c_int64 * len(numbers))(*numbers)


def _run(problem, theta, optimiser, first, steps, losses, gradient):
    job, keep = KERNELS[problem.kernel].fill(problem, first, steps)
    job.steps, job.threads, job.optimiser = steps, torch.get_num_threads(), optimiser
    job.theta, job.losses, job.gradient = theta.data_ptr(), _pointer(losses), _pointer(gradient)
    getattr(library(), f"{problem.kernel}_{'float' if theta.dtype == torch.float32 else 'double'}")(ctypes.byref(job))
    del keep  # the tensors and arrays that `job` points into


def _mlp(problem, first, steps):
    like, points = problem.theta, problem.x.shape[-2]
    padding = -points % library().lanes_float()  # also right for double, whose lanes are half as many
    x, y = problem.x, problem.y
    y = y.to(like.dtype)[..., None] if problem.loss == "cross_entropy" else y
    w = like.new_full((points,), 1 / points) if problem.weight is None else problem.weight
    x, y, w = (F.pad(t, (0, padding)).contiguous() for t in (x.mT, y.mT, w))
    job = _stack(problem, points + padding, x, y)
    job.w, job.w_member = w.data_ptr(), w.shape[1] if w.dim() == 2 else 0
    return job, (x, y, w)


def _minibatches(problem, first, steps):
    like = problem.theta
    picks = problem.picks(first, first + steps) if steps else None
    x, y, counts = problem.x.contiguous(), problem.y.to(like.dtype)[..., None], problem.counts.contiguous()
    job = _stack(problem, x.shape[1], x, y)
    job.batch, job.bytes, job.picks, job.counts = (
        problem.batch,
        problem.scale is not None,
        _pointer(picks),
        counts.data_ptr(),
    )
    job.scale, job.shift = _pointer(problem.scale), _pointer(problem.shift)
    return job, (x, y, counts, picks)


def _embedding(problem, first, steps):
    like = problem.theta
    padding = -problem.pairs.shape[1] % library().lanes_float()
    y = problem.y.to(like.dtype)[..., None] if problem.loss == "cross_entropy" else problem.y
    i, j, w = (F.pad(t, (0, padding)).contiguous() for t in (*problem.pairs.unbind(2), problem.weight))
    y = F.pad(y.mT, (0, padding)).contiguous()
    last = ((w != 0) * torch.arange(1, w.shape[1] + 1)).amax(1)  # pairs up to the last one that counts
    counts = -(-last // library().lanes_float()) * library().lanes_float()
    job = _Embedding(
        **_groups(problem.groups), points=w.shape[1], tokens=problem.tokens, dim=problem.dim,
        activation=list(ACTIVATIONS).index(problem.activation), loss=list(LOSSES).index(problem.loss),
        mode=list(MODES).index(problem.mode), counts=_whole(counts.tolist()), i=i.data_ptr(), j=j.data_ptr(),
        y=y.data_ptr(), w=w.data_ptr(),
    )  # fmt: skip
    return job, (i, j, y, w)


def _groups(groups):
    """Numbers of members and layers, and sizes of layers, of each group."""
    sizes = [list(s) + [0] * (MAX_LAYERS + 1 - len(s)) for _, s in groups]
    return {
        "groups": len(groups), "members": _whole([m for m, _ in groups]), "layers": _whole([len(s) - 1 for _, s in groups]),
        "sizes": _whole([s for row in sizes for s in row]),
    }  # fmt: skip


def _stack(problem, points, x, y):
    """A job for a stack of MLPs on the arrays x and y, which have a member axis if they have three dimensions."""
    loss = getattr(problem, "loss", "cross_entropy")
    return _Mlp(
        **_groups(problem.stack.groups), points=points, x=x.data_ptr(), y=y.data_ptr(),
        activation=list(ACTIVATIONS).index(problem.stack.activation), loss=list(LOSSES).index(loss),
        x_member=x[0].numel() if x.dim() == 3 else 0, y_member=y[0].numel() if y.dim() == 3 else 0,
    )  # fmt: skip


def _rnn(problem, first, steps):
    stack, (sequences, length, _) = problem.stack, problem.x.shape
    picks = problem.picks(first, first + steps) if steps else None
    x, y = problem.x.contiguous(), problem.y.contiguous()
    job = _Rnn(
        members=stack.members, activation=list(ACTIVATIONS).index(stack.activation), loss=list(LOSSES).index(problem.loss),
        sequences=sequences, length=length, batch=problem.batch or sequences,
        f_layers=len(stack.transition) - 1, g_layers=len(stack.readout) - 1,
        f_sizes=_whole(stack.transition), g_sizes=_whole(stack.readout),
        picks=_pointer(picks), x=x.data_ptr(), y=y.data_ptr(),
    )  # fmt: skip
    return job, (picks, x, y)


def _rate(problem, first, steps):
    like, lanes, stack = problem.theta, library().lanes_float(), problem.stack
    ahead, counts, rows = range(first, first + steps) if steps else [None], [], []
    drawn = [problem.draw(step) for step in ahead]
    for trials in drawn:  # as columns, those of each time padded to whole vectors with weight 0
        real = torch.tensor(trials.counts)
        wide = -(-real // lanes) * lanes
        place = torch.arange(len(trials.y)) + torch.repeat_interleave((wide - real).cumsum(0) - (wide - real), real)
        y, w = trials.y.to(like.dtype)[:, None], like.new_full((len(place), 1), 1 / len(place))
        noise = like.new_zeros(len(place), 0) if trials.noise is None else trials.noise
        blank = [like.new_zeros(t.shape[1], int(wide.sum())) for t in (trials.x, noise, y, w)]
        rows.append([b.index_copy_(1, place, t.T) for b, t in zip(blank, (trials.x, noise, y, w), strict=True)])
        counts += wide.tolist()
    x, noise, y, w = (torch.cat([t.flatten() for t in each]) for each in zip(*rows, strict=True))
    scales = torch.tensor([problem.factor(step) for step in ahead], dtype=like.dtype)
    price, free = (t if t is None else t.contiguous() for t in (problem.price, problem.free))
    job = _Rate(
        members=len(problem.sizes), units=stack.units, inputs=stack.inputs, outputs=stack.outputs,
        times=_whole([len(trials.counts) for trials in drawn]), counts=_whole(counts), x=x.data_ptr(),
        noise=noise.data_ptr() if len(noise) else None, y=y.data_ptr(), w=w.data_ptr(),
        price=_pointer(price), scales=scales.data_ptr(), free=_pointer(free),
    )  # fmt: skip
    return job, (x, noise, y, w, price, scales, free)


def _deepest(problem):
    return max(len(sizes) for _, sizes in problem.stack.groups) - 1


@dataclass(frozen=True)
class Kernel:
    """What is particular to one kernel.

    Attributes:
        fill: function of (problem, first step, steps) giving the job, a structure without steps, threads, optimiser, theta,
            losses and gradient, and the tensors and arrays that it points into.
        layers: function of a problem giving the layers of its deepest MLP.
        job: the structure that the C++ function takes.
    """

    fill: Callable
    layers: Callable
    job: type[ctypes.Structure]


KERNELS = {  # by `Problem.kernel`; the library has a function <name>_float and one <name>_double for each
    "mlp": Kernel(_mlp, _deepest, _Mlp),
    "minibatches": Kernel(_minibatches, _deepest, _Mlp),
    "rnn": Kernel(_rnn, lambda problem: max(len(problem.stack.transition), len(problem.stack.readout)) - 1, _Rnn),
    "embedding": Kernel(_embedding, lambda problem: max(len(sizes) for _, sizes in problem.groups) - 1, _Embedding),
    "rate": Kernel(_rate, lambda problem: 1, _Rate),
}
