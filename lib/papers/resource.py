"""Song, Liu, Tegmark and Gore, "A Resource Model for Neural Scaling Law" (arXiv:2402.05164).

One hidden layer of SiLU neurons learns one task, y = x², or several side by side, y_i = t_i(x_i). Every parameter but the
output biases pays for its square, every task has a weight, and what is minimised is

    J = Σ_i weight_i MSE_i + LAMBDA Σ (w² + b² + v²).

The heavier a task, the more neurons it can afford: how many, and what loss they leave, is what this module measures.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Real
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits
from torch import Tensor

from ..checks import check
from ..kernels.exponents import slope
from ..kernels.mirror import KAPPA, quartic
from ..kernels.mlp import Regression, Stack, random_stack
from ..kernels.optimisers import Adam, cosine
from ..kernels.training import train

LAMBDA = 3e-4  # price of a squared parameter; chosen once so that pair networks match the published weights
ROUND = 1e-3  # of |parameter| near zero
RATE = 1e-2  # Adam's learning rate at the start
THRESHOLD = 1e-3  # while it settles, a neuron with an input or output weight below this is dead
REST = 1e-10  # a network is at rest when Newton's step would remove a smaller share of J
NEWTON_STEPS = 6000  # at most; some hundreds are usual
LAYER = 20  # neurons in each hidden layer of the series task
NODES = {("max(0, x)",): 32, ("x²", "x²"): 6}  # points in each input, by tasks: a kink takes more, parabolas take fewer
USUAL_NODES = {1: 16, 2: 8}  # for others, by the number of inputs

# name -> target on [-1, 1]
TASKS = {
    "x²": torch.square,
    "x³": lambda x: x**3,
    "x⁴": lambda x: x**4,
    "cos πx": lambda x: torch.cos(math.pi * x),
    "exp x": torch.exp,
    "tanh x": torch.tanh,
    "max(0, x)": torch.relu,
}


# ---- what others printed ----------------------------------------------------------------------------------------------


def _table(text):
    return torch.tensor([[float(v) for v in row.split()] for row in text.split("|")], dtype=torch.float64)


# Read off the paper's figures.
PAIRS = {3.53: (1, 1.33, 1.0e-4), 9.07: (2, 1.06, 4.4e-5), 19.33: (3, 0.92, 2.5e-5), 128.0: (9, 0.63, 6.2e-6)}
"""Fig. 2B, task weight -> (mirror pairs, their mean |w|, loss)."""
STAIRCASE = _table("1 2|5.5 2|6 3|8.5 4|15 5|20 6|28 7|63 12.5|128 20|256 30|512 65")
"""Fig. 2B, (task weight, neurons)."""
SINGLE = _table("2 1.3e-4|2 1.17e-4|2 1.0e-4|3.8 5.1e-5|5 3.2e-5|7.6 1.9e-5|12 1.1e-5|20 6.1e-6|33 3.7e-6|55 2.5e-6")
"""Fig. 2C, (neurons, loss)."""
SERIES = _table(
    "10.4 2.6e-5|12.7 1.65e-5|14.2 1.2e-5|17 8.7e-6|19 6.1e-6|23 4.3e-6|29 3.1e-6|40 2.4e-6|45 1.85e-6|52 1.5e-6"
)
"""Fig. 4C, (neurons, loss)."""
RATIO_WEIGHTS = (32, 64, 128, 256, 512)
NEURON_RATIOS = {
    0.5: (1.0, 1.0, 1.0, 1.0, 1.0),
    0.75: (1.75, 1.95, 2.25, 2.25, 2.4),
    0.85: (3.4, 2.9, 3.1, 3.4, 3.8),
    0.9: (3.6, 5.2, 4.4, 4.6, 5.2),
    0.95: (3.7, 5.9, 8.8, 7.5, 8.9),
}
"""Fig. 3C, share of the first task -> its neurons over the second's, at the task weights `RATIO_WEIGHTS`."""
LOSS_RATIOS = {
    0.5: (1.0, 1.0, 1.0, 1.0, 1.0),
    0.75: (2.15, 2.35, 2.55, 2.45, 2.3),
    0.85: (4.4, 3.8, 4.0, 4.0, 3.8),
    0.9: (5.2, 6.2, 5.9, 5.8, 5.3),
    0.95: (6.2, 9.4, 9.2, 9.3, 9.5),
}
"""Fig. 3C, share of the first task -> the second's loss over the first's, at the task weights `RATIO_WEIGHTS`."""

SHAPES = _table(
    "44 512 8|57 576 9|74 640 10|90 640 13|106 640 16|117 768 12|140 768 15|163 768 18|175 896 14|196 896 16|"
    "217 896 18|251 1024 16|278 1024 18|306 1024 20|425 1280 18|489 1280 21|509 1408 18|552 1280 24|587 1408 21|"
    "632 1536 19|664 1408 24|724 1536 22|816 1536 25|893 1792 20|1018 1792 23|1143 1792 26|1266 2048 22|1424 2176 22|"
    "1429 2048 25|1593 2048 28|1609 2176 25|1731 2304 24|1794 2176 28|2007 2304 28|2283 2304 32|2298 2560 26|"
    "2639 2560 30|2980 2560 34|3530 2688 36|3802 2816 36|4084 2944 36|4516 3072 36|6796 3584 40|9293 4096 42|"
    "11452 4352 47|12295 4608 44|12569 4608 47|13735 4864 47|14940 4992 49|16183 5120 47"
)
"""Hoffmann et al. 2022, Table A9: (millions of parameters, model width d, layers L) of the 50 Chinchilla models."""
REFIT = (0.3478, 0.0154)
"""Besiroglu et al. 2024: the exponent of the Chinchilla loss in parameters, refitted, and its standard error."""


# ---- theory ------------------------------------------------------------------------------------------------------------


def law(neurons: float | Real[np.ndarray, "*shape"]) -> float | Float[np.ndarray, "*shape"]:
    """Loss of y = x² on [-1, 1] with the best division of cost between w and v: KAPPA (4/N)^(4/3). No free parameter."""
    return KAPPA * (4 / neurons) ** (4 / 3)


def pair_error(w: float | Float[Tensor, ""], x: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """f(x) - x² on [-1, 1] of mirror pairs of small weight w, whatever their number: -(w²/12) (8/35) P4(x)."""
    return -(w**2) / 12 * 8 / 35 * quartic(x)


def pair_network(weight: float, pairs: int, *, biased: bool = False) -> tuple[float, float, float]:
    """The network of `pairs` equal mirror pairs, c + v Σ [s(wx + b) + s(b - wx)], of lowest J on y = x².

    J is even in b once c is at its best, so that b = 0 is always stationary: there the search stays, unless `biased`,
    which starts it at b = -1.

    Args:
        weight: task weight, > 0.
        pairs: number of mirror pairs, ≥ 1.
        biased: whether b is free.

    Returns:
        w > 0, the mean squared error on [-1, 1] and J. This chapter's own ansatz.
    """
    check("weight", weight, float, above=0)
    check("pairs", pairs, int, low=1)
    x, q = np.polynomial.legendre.leggauss(16)

    def mse(w, v, c, b=0.0):
        f = c + pairs * v * ((w * x + b) * expit(w * x + b) + (b - w * x) * expit(b - w * x))
        return q @ (f - x * x) ** 2 / 2

    def cost(p):  # in units of LAMBDA, so that the search sees numbers of order 1
        w, v, _, b = p if biased else (*p, 0.0)
        return weight / LAMBDA * mse(*p) + 2 * pairs * (w * w + v * v + b * b)

    start = [1.5, 1.5 / pairs, 0.7, -1.0] if biased else [1.0, 2 / pairs, 0.0]
    best = minimize(cost, start, method="BFGS", options={"gtol": 1e-7})
    return abs(best.x[0]), mse(*best.x), LAMBDA * best.fun


def staircase(weights: Iterable[float]) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Neurons, mean squared error and J of the best number of unbiased mirror pairs at ascending task `weights`."""
    pairs, steps = 1, []
    for weight in weights:
        found = pair_network(weight, pairs)
        while (more := pair_network(weight, pairs + 1))[2] < found[2]:
            pairs, found = pairs + 1, more
        steps.append((2 * pairs, *found[1:]))
    neurons, losses, costs = zip(*steps, strict=True)
    return neurons, losses, costs


def exponent(x: Float[Tensor, "*resamples cells"], y: Float[Tensor, "*resamples cells"]) -> Float[Tensor, "*resamples"]:
    """alpha of y ~ x^-alpha: minus the slope of a least-squares line of log y on log x; NaN where x does not vary."""
    return -slope(x.log(), y.log())


# ---- training ----------------------------------------------------------------------------------------------------------


def grid(tasks: int, nodes: int) -> tuple[Float[Tensor, "points tasks"], Float[Tensor, " points"]]:
    """Points in [-1, 1]^tasks and weights that sum to 1: Gauss and Legendre's rule in each input, float64."""
    z, q = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(nodes))
    x = torch.cartesian_prod(*[z] * tasks).reshape(-1, tasks)
    return x, torch.cartesian_prod(*[q / 2] * tasks).reshape(-1, tasks).prod(1)


def _points(tasks):
    """The grid for these tasks and their targets on it, (points, tasks)."""
    x, q = grid(len(tasks), NODES.get(tuple(tasks), USUAL_NODES[len(tasks)]))
    return x, q, torch.stack([TASKS[name](x[:, i]) for i, name in enumerate(tasks)], 1)


@dataclass(frozen=True)
class Networks:
    """Networks of one hidden layer, for K cells (settings of the task weights) and several seeds; float64, on the CPU.

    Attributes:
        tasks: T names in `TASKS`.
        weights: of the tasks, (K, T).
        w, b, v, c: (K, seeds, H, T), (K, seeds, H), (K, seeds, H, T), (K, seeds, T); a neuron that is gone is zero.
        unrest: share of J that the next Newton step would remove, (K, seeds); infinite where J is no minimum.
        power: a parameter's price is LAMBDA |parameter|^power.
    """

    tasks: tuple
    weights: Float[Tensor, "cells tasks"]
    w: Float[Tensor, "cells seeds neurons tasks"]
    b: Float[Tensor, "cells seeds neurons"]
    v: Float[Tensor, "cells seeds neurons tasks"]
    c: Float[Tensor, "cells seeds tasks"]
    unrest: Float[Tensor, "cells seeds"]
    power: float = 2.0

    def hidden(self, x: Float[Tensor, "points tasks"]) -> Float[Tensor, "cells seeds neurons points"]:
        """What the hidden neurons say at the points `x`."""
        return F.silu(self.w @ x.T + self.b[..., None])

    def error(self, x: Float[Tensor, "points tasks"]) -> Float[Tensor, "cells seeds tasks points"]:
        """Output minus target at the points `x`."""
        y = torch.stack([TASKS[name](x[:, i]) for i, name in enumerate(self.tasks)])
        return self.v.transpose(2, 3) @ self.hidden(x) + self.c[..., None] - y

    @functools.cached_property
    def losses(self) -> Float[Tensor, "cells seeds tasks"]:
        """Mean squared error of each task."""
        x, q, _ = _points(self.tasks)
        return self.error(x).square() @ q

    @functools.cached_property
    def prices(self) -> Float[Tensor, "cells seeds neurons"]:
        """What each neuron costs."""
        w, b, v = (t.abs() ** self.power for t in (self.w, self.b, self.v))
        return LAMBDA * (w.sum(3) + b + v.sum(3))

    @property
    def objective(self) -> Float[Tensor, "cells seeds"]:
        """J."""
        return (self.losses * self.weights[:, None]).sum(2) + self.prices.sum(2)

    @functools.cached_property
    def contributions(self) -> Float[Tensor, "cells seeds neurons tasks"]:
        """How much of each output's spread over the inputs (a standard deviation) a neuron makes."""
        x, q, _ = _points(self.tasks)
        a = self.hidden(x)
        return self.v.abs() * ((a - (a @ q)[..., None]).square() @ q).sqrt()[..., None]

    @functools.cached_property
    def earning(self) -> Bool[Tensor, "cells seeds neurons"]:
        """Whether a neuron earns its price: without it, and with c put right again, J would be higher."""
        x, q, _ = _points(self.tasks)
        a, r = self.hidden(x), self.error(x)
        a, r = a - (a @ q)[..., None], r - (r @ q)[..., None]
        first = -2 * self.v * torch.einsum("ksnp,kstp,p->ksnt", a, r, q)
        second = self.contributions.square()
        return ((first + second) * self.weights[:, None, None]).sum(3) > self.prices

    @functools.cached_property
    def owners(self) -> Bool[Tensor, "cells seeds neurons tasks"]:
        """Whether a neuron is allocated to a task: it earns its price, and contributes to this output most."""
        best = self.contributions == self.contributions.amax(3, keepdim=True)
        return best & self.earning[..., None]

    @property
    def neurons(self) -> Float[Tensor, "cells seeds tasks"]:
        """How many neurons are allocated to each task."""
        return self.owners.sum(2).double()


def _priced(stack, weights):
    """The stack, learning rates and decays (total,) with every output i in units of 1/sqrt(T weight_i).

    In these units the plain mean squared error over the T outputs is Σ_i weight_i MSE_i, and Adam with the rates and
    decays returned does what it would do in the old units on that loss plus LAMBDA times the squared parameters.
    `weights` is (members, T); the stack is changed in place.
    """
    unit = (weights * weights.shape[1]).sqrt()
    rates, decays = torch.full_like(stack.theta, RATE), torch.full_like(stack.theta, 2 * LAMBDA)
    for theta, r, d in zip(stack.layers(), stack.layers(rates), stack.layers(decays), strict=True):
        for packed, power in ((theta, 1), (r, 1), (d, -2)):
            V, c = packed[-1]
            V.mul_(unit[:, :, None] ** power), c.mul_(unit**power)
        d[-1][1].zero_()
    return unit, rates, decays


def _adam(stack: Stack, data: tuple, weights: Float[Tensor, "members tasks"], steps: int, progress: Callable) -> Stack:
    """The stack (one group) after `steps` updates on Σ_i weight_i MSE_i plus the price; `data` are x, y, point weights."""
    x, y, q = data
    unit, rates, decays = _priced(stack, weights)
    problem = Regression(stack, x, y * unit[:, None], weight=q)
    optimiser = Adam(rates, decays, schedule=cosine(steps, 1e-4), eps=1e-12)
    trained = train(problem, optimiser, steps, at=range(0, steps, 1000), progress=progress).problem.stack
    V, c = trained.layers()[0][-1]
    V.div_(unit[:, :, None]), c.div_(unit)
    return trained


def trained(
    weights: Float[Tensor, "cells tasks"],
    width: int,
    seeds: int,
    steps: int,
    *,
    tasks: tuple = ("x²",),
    seed: int = 0,
    device: str = "cpu",
    progress: Callable = iter,
) -> Networks:
    """Train `seeds` networks for every row of task weights, all at once, by Adam on J.

    Args:
        weights: task weights > 0.
        width: hidden neurons at the start.
        seeds: networks for each row.
        steps: full-batch updates, the learning rate falling along half a cosine; w, b, v start as U(-0.3, 0.3).
        tasks: names in `TASKS`, one for each input and output.
        seed, device, progress: of the initialisation; where to train; a wrapper for an iterable.

    Raises:
        ValueError: for a bad argument.
    """
    check("tasks", list(tasks), [set(TASKS)])
    weights = torch.as_tensor(weights, dtype=torch.float64)
    if weights.dim() != 2 or weights.shape[1] != len(tasks) or not bool((weights > 0).all()):
        raise ValueError(f"weights = {weights.tolist()}: expected positive rows of {len(tasks)} numbers")
    cells, count = weights.shape
    x, q, y = (t.to(device, torch.float32) for t in _points(tasks))
    stack = random_stack([(cells * seeds, (count, width, count))], seed=seed, scale=0.3, device=device)
    each = weights.repeat_interleave(seeds, 0).to(device, torch.float32)
    return _networks(_adam(stack, (x, y, q), each, steps, progress), weights, tuple(tasks))


def _networks(stack, weights, tasks, power=2.0):
    """What a stack of one group, cell after cell, is as `Networks`; not at rest."""
    (W, b), (V, c) = stack.layers()[0]
    parts = [t.unflatten(0, (len(weights), -1)).double().cpu() for t in (W, b, V.mT, c)]
    return Networks(tasks, weights, *parts, torch.full(parts[1].shape[:2], math.inf, dtype=torch.float64), power)


# ---- settling ----------------------------------------------------------------------------------------------------------


class _Objective:
    """J of one network with its derivatives, in float64; theta is w (T, H), b (H,), v (T, H), c (T,) in a row.

    Attributes:
        x, q, y, weights: (points, T), (points,), (points, T), (T,).
        power: 2 or 1, of the price; |parameter| is rounded off to sqrt(parameter² + ROUND²).
    """

    def __init__(self, x, q, y, weights, power=2.0):
        self.x, self.y, self.weights, self.scale, self.power = x, y, weights, q[:, None] * weights, power
        self.inputs, self.root = np.vstack([x.T, np.ones(len(x))]), np.sqrt(2 * q)[:, None]

    def price(self, theta):
        """The price of each parameter (n,), its derivative and its second derivative."""
        if self.power == 2:
            return LAMBDA * theta**2, 2 * LAMBDA * theta, np.full(len(theta), 2 * LAMBDA)
        size = np.sqrt(theta**2 + ROUND**2)
        return LAMBDA * size, LAMBDA * theta / size, LAMBDA * ROUND**2 / size**3

    def split(self, theta):
        """w (H, T), b, v (H, T) and c."""
        T = len(self.weights)
        H = (len(theta) - T) // (2 * T + 1)
        w, b, v, c = np.split(theta, [H * T, H * T + H, H * T + H + H * T])
        return w.reshape(T, H).T, b, v.reshape(T, H).T, c

    def living(self, theta):
        """theta without the neurons that have died; the same array if none has, or all."""
        w, b, v, c = self.split(theta)
        alive = (np.abs(w).max(1) > THRESHOLD) & (np.abs(v).max(1) > THRESHOLD)
        return theta if alive.all() or not alive.any() else _packed(w[alive], b[alive], v[alive], c)

    def gradient(self, theta):
        """J and its gradient."""
        w, b, v, c = self.split(theta)
        h = self.x @ w.T + b
        s = expit(h)
        a = h * s
        r = a @ v + c - self.y
        pull = 2 * self.scale * r
        slope = (pull @ v.T) * (s + a * (1 - s))
        grad = _packed(slope.T @ self.x, slope.sum(0), a.T @ pull, pull.sum(0))
        prices, marginal, _ = self.price(theta[: -len(c)])
        grad[: -len(c)] += marginal
        return (pull * r).sum() / 2 + prices.sum(), grad

    def hessian(self, theta):
        """Upper triangle of the matrix of second derivatives, (n, n); what is below it means nothing."""
        w, b, v, c = self.split(theta)
        (H, T), n, m = w.shape, len(theta), b.size * (len(c) + 1)  # m parameters inside the activation: w and b
        h = self.x @ w.T + b
        s = expit(h)
        a = h * s
        d = s + a * (1 - s)
        # By w, b, v and c the output k changes by v_k d x, v_k d, a and 1: but for v_k, one product has all that is summed.
        root = np.concatenate([*(d * x[:, None] for x in self.inputs), a, np.ones((len(a), 1))], 1) * self.root
        gram = root.T @ root  # one array twice: NumPy computes half of the product
        matrix = np.zeros((n, n))
        blocks = matrix[:m, :m].reshape(T + 1, H, T + 1, H)  # a view
        np.multiply(gram[:m, :m].reshape(blocks.shape), ((v * self.weights) @ v.T)[:, None], out=blocks)
        for k, weight in enumerate(self.weights):
            at, end, factor = slice(m + k * H, m + (k + 1) * H), n - T + k, np.tile(weight * v[:, k], T + 1)[:, None]
            matrix[:m, at], matrix[:m, end] = factor * gram[:m, m:-1], factor[:, 0] * gram[:m, -1]
            matrix[at, at], matrix[at, end] = weight * gram[m:-1, m:-1], weight * gram[m:-1, -1]
            matrix[end, end] = 2 * weight
        # And the error times its second derivatives, which link the parameters of one neuron.
        pull = 2 * self.scale * (a @ v + c - self.y)
        bend = (pull @ v.T) * s * (1 - s) * (2 + h * (1 - 2 * s))
        pairs, mixed = self.inputs[:, None] * self.inputs, self.inputs[:, None] * pull.T
        np.einsum("ihjh->ijh", blocks)[:] += pairs @ bend
        np.einsum("ihkh->ikh", matrix[:m, m : n - T].reshape(T + 1, H, T, H))[:] += mixed @ d
        matrix.flat[: (n - T) * (n + 1) : n + 1] += self.price(theta[:-T])[2]
        return matrix


def _packed(w, b, v, c):
    """theta of an `_Objective` from w (H, T), b, v (H, T) and c."""
    return np.concatenate([w.T.ravel(), b, v.T.ravel(), c])


def _newton(curvature, grad, damping):
    """The step to the minimum of J's quadratic model with `damping` added to its curvature; None if it has no minimum."""
    shifted = curvature.copy()
    shifted.flat[:: len(grad) + 1] += damping
    try:
        factor = cho_factor(shifted.T, lower=True, overwrite_a=True, check_finite=False)  # LAPACK's order of the axes
    except np.linalg.LinAlgError:
        return None
    return -cho_solve(factor, grad, check_finite=False)


def _minimum(objective, theta):
    """Newton's method with Levenberg's damping: theta at a minimum of J below `theta`, without the neurons that died.

    Returns:
        theta, and the share of J that one more undamped step would remove: infinite if J is not convex there.
    """
    theta = objective.living(theta)
    value, grad = objective.gradient(theta)
    curvature, damping = objective.hessian(theta), 1e-3
    for _ in range(NEWTON_STEPS):
        move = _newton(curvature, grad, damping)
        if move is not None and damping < 1e-6 and -(grad @ move) / 2 < REST * value:
            break
        lower, there = (math.inf, grad) if move is None else objective.gradient(theta + move)
        if lower > value:
            damping *= 4
            if damping > 1e9:  # J cannot be lowered any more in this precision
                break
            continue
        moved, damping = theta + move, max(damping / 4, 1e-12)
        theta = objective.living(moved)
        value, grad = (lower, there) if theta is moved else objective.gradient(theta)
        curvature = objective.hessian(theta)
    move = _newton(curvature, grad, 0.0)
    return theta, math.inf if move is None else -(grad @ move) / 2 / value


@threadpool_limits.wrap(limits=1)  # threads gain nothing on such small matrices, and wait for each other on a busy machine
def settled(networks: Networks, progress: Callable = iter) -> Networks:
    """Every network at the minimum of J that it was on its way to.

    Adam crawls: merging two neurons gains almost nothing, and a dying neuron dies exponentially slowly. Newton's method
    goes down from where Adam stopped until a step would remove less than a share REST of J. This chapter's own.

    Args:
        networks: trained for some time.
        progress: a wrapper for an iterable.

    Returns:
        The networks, with `unrest`.
    """
    x, q, y = (t.numpy() for t in _points(networks.tasks))
    cells, seeds = networks.unrest.shape
    parts = [torch.zeros_like(t) for t in (networks.w, networks.b, networks.v, networks.c)]
    unrest = torch.empty(cells, seeds, dtype=torch.float64)
    for k, s in progress(list(itertools.product(range(cells), range(seeds)))):
        objective = _Objective(x, q, y, networks.weights[k].numpy(), networks.power)
        start = _packed(*(t[k, s].numpy() for t in (networks.w, networks.b, networks.v, networks.c)))
        theta, unrest[k, s] = _minimum(objective, start)
        for part, found in zip(parts, objective.split(theta), strict=True):
            part[k, s, : len(found)] = torch.from_numpy(found)
    return replace(networks, w=parts[0], b=parts[1], v=parts[2], c=parts[3], unrest=unrest)


@dataclass(frozen=True)
class _Lasso(Regression):
    """Regression of one group at a price of LAMBDA |parameter|, the output's bias free; plain torch."""

    kernel: ClassVar[str | None] = None

    def slopes(self, theta):
        """The derivative of the price, (total,)."""
        found = LAMBDA * theta.sign()
        self.stack.layers(found)[0][-1][1].zero_()
        return found

    def losses(self, step=None):
        theta = self.theta
        return super().losses(step) + (self.slopes(theta.detach()) * theta).view(self.stack.members, -1).sum(1)

    def gradient(self, theta, step=None):
        losses, grad = super().gradient(theta, step)
        slopes = self.slopes(theta)
        return losses + (slopes * theta).view(len(losses), -1).sum(1), grad + slopes


def lasso(
    weights: list[float],
    width: int,
    seeds: int,
    steps: int,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable = iter,
) -> Networks:
    """`trained` on y = x² alone, at a price of LAMBDA |parameter| instead of LAMBDA parameter²; plain torch.

    Args:
        weights: K task weights > 0.
        width, seeds, steps, seed, device, progress: as for `trained`.
    """
    x, q, y = (t.to(device, torch.float32) for t in _points(("x²",)))
    stack = random_stack([(len(weights) * seeds, (1, width, 1))], seed=seed, scale=0.3, device=device)
    each = torch.tensor(weights, dtype=torch.float32, device=device).repeat_interleave(seeds)
    optimiser = Adam(RATE, schedule=cosine(steps, 1e-4), eps=1e-12)
    problem = _Lasso(stack, x, y, weight=each[:, None] * q)
    run = train(problem, optimiser, steps, at=range(0, steps, 1000), progress=progress)
    return _networks(run.problem.stack, torch.tensor(weights, dtype=torch.float64)[:, None], ("x²",), power=1.0)


# ---- modules -----------------------------------------------------------------------------------------------------------


def module_errors(networks: Networks, cell: int, seed: int, x: Float[Tensor, " points"]) -> Float[Tensor, "modules points"]:
    """What each module of one network of one task gets wrong about x², whatever its share of it.

    A module is a pair of allocated neurons with w of opposite sign, paired in the order of |w|; a neuron without a partner
    is left out. Its error is its output minus the constant and the multiple of x² that fit it best on the points `x`, scaled
    to a root mean square of 1. After the paper's appendix.
    """
    mine = networks.earning[cell, seed]
    w, b, v = networks.w[cell, seed, mine, 0], networks.b[cell, seed, mine], networks.v[cell, seed, mine, 0]
    order = w.abs().argsort(descending=True)
    right, left = order[w[order] > 0], order[w[order] < 0]
    count = min(len(right), len(left))
    out = v[:, None] * F.silu(w[:, None] * x + b[:, None])
    pair = out[right[:count]] + out[left[:count]]
    basis = torch.stack([torch.ones_like(x), x.square()], 1)
    error = pair - (basis @ torch.linalg.lstsq(basis, pair.T).solution).T
    return error / error.square().mean(1, keepdim=True).sqrt()


# ---- two tasks in a row ------------------------------------------------------------------------------------------------


def series(
    weights: list[float], seeds: int, steps: int, *, seed: int = 0, device: str = "cpu", progress: Callable = iter
) -> dict[str, Tensor]:
    """Train networks of four hidden layers on y = √g, g = (x1 - x2)² + (x3 - x4)², x uniform on [-1, 1]⁴.

    Args:
        weights: K task weights > 0.
        seeds: networks for each weight.
        steps: full-batch Adam updates on 256 fixed random points, the rate falling along half a cosine.
        seed, device, progress: as for `trained`.

    Returns:
        `used`: neurons in use of the 80, (K, seeds): in and out they have a weight above THRESHOLD. `losses` (K, seeds) on
        4096 fresh points. `correlations`: the largest |correlation| of a single neuron of each hidden layer with g there,
        (K, seeds, 4). float64.
    """
    generator = torch.Generator().manual_seed(seed)
    x, fresh = (torch.rand(n, 4, generator=generator).to(device) * 2 - 1 for n in (256, 4096))

    def inner(x):
        return (x[:, 0] - x[:, 1]).square() + (x[:, 2] - x[:, 3]).square()

    stack = random_stack([(len(weights) * seeds, (4, *[LAYER] * 4, 1))], seed=seed, device=device)
    each = torch.tensor(weights, dtype=torch.float32, device=device).repeat_interleave(seeds)[:, None]
    layers = _adam(stack, (x, inner(x).sqrt()[:, None], None), each, steps, progress).layers()[0]
    h, used, correlations, g = fresh.T.expand(len(each), -1, -1), 0, [], inner(fresh) - inner(fresh).mean()
    for (W, b), (V, _) in itertools.pairwise(layers):
        h = F.silu(torch.baddbmm(b[:, :, None], W, h))
        used = used + ((W.abs().amax(2) > THRESHOLD) & (V.abs().amax(1) > THRESHOLD)).sum(1)
        centred = h - h.mean(2, keepdim=True)
        correlation = (centred @ g).abs() / (centred.norm(dim=2) * g.norm()).clamp_min(1e-12)
        correlations.append(correlation.amax(1))
    V, c = layers[-1]
    losses = (torch.baddbmm(c[:, :, None], V, h)[:, 0] - inner(fresh).sqrt()).square().mean(1)
    found = {"used": used, "losses": losses, "correlations": torch.stack(correlations, 1)}
    return {name: t.unflatten(0, (len(weights), seeds)).double().cpu() for name, t in found.items()}
