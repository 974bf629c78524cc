"""Song, Liu, Tegmark and Gore, "A Resource Model for Neural Scaling Law" (arXiv:2402.05164).

One hidden layer of SiLU neurons learns one task, y = x², or several side by side, y_i = t_i(x_i). Every parameter but the
output biases pays for its square, every task has a weight, and what is minimised is

    J = Σ_i weight_i MSE_i + LAMBDA Σ (w² + b² + v²).

The heavier a task, the more neurons it can afford: how many, and what loss they leave, is what this module measures.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

from ..checks import check
from ..kernels.exponents import power
from ..kernels.mirror import KAPPA, quartic
from ..kernels.mlp import Regression, random_stack
from ..kernels.optimisers import Adam, cosine
from ..kernels.training import train

LAMBDA = 3e-4  # price of a squared parameter; chosen once so that pair networks match the published weights
THRESHOLD = 1e-3  # a neuron counts if both its weights are larger than this

# name -> target on [-1, 1]
TASKS = {
    "x²": torch.square,
    "cos πx": lambda x: torch.cos(math.pi * x),
    "exp x": torch.exp,
    "tanh 3x": lambda x: torch.tanh(3 * x),
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


def law(neurons):
    """Loss of y = x² on [-1, 1] with the best division of cost between w and v: KAPPA (4/N)^(4/3). No free parameter."""
    return KAPPA * (4 / neurons) ** (4 / 3)


def pair_error(w, x):
    """f(x) - x² on [-1, 1] of mirror pairs of small weight w, whatever their number: -(w²/12) (8/35) P4(x)."""
    return -(w**2) / 12 * 8 / 35 * quartic(x)


def pair_network(weight, pairs, biased=False):
    """The network of `pairs` equal mirror pairs, c + v Σ [s(wx + b) + s(b - wx)], of lowest J on y = x².

    J is even in b once c is at its best, so that b = 0 is always stationary: there the search stays, unless `biased`,
    which starts it at b = -1.

    Args:
        weight: task weight, > 0.
        pairs: number of mirror pairs, ≥ 1.
        biased: whether b is free.

    Returns:
        w > 0, the mean squared error on [-1, 1] and J, floats. This chapter's own ansatz.
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


def best_pairs(weight):
    """The number of unbiased mirror pairs of lowest J, and their w, mean squared error and J: what a task can afford."""
    pairs, found = 1, pair_network(weight, 1)
    while (more := pair_network(weight, pairs + 1))[2] < found[2]:
        pairs, found = pairs + 1, more
    return pairs, *found


def line(x, y):
    """Slope of log y on log x, (K,) each, and its 95 % confidence interval from Student's t: three floats."""
    fit = stats.linregress(np.log(np.asarray(x)), np.log(np.asarray(y)))
    half = stats.t.ppf(0.975, len(x) - 2) * fit.stderr
    return float(fit.slope), float(fit.slope - half), float(fit.slope + half)


# ---- training ----------------------------------------------------------------------------------------------------------


def grid(tasks, nodes, device="cpu"):
    """Points (nodes^tasks, tasks) and weights that average over [-1, 1]^tasks: Gauss-Legendre in each input, float32."""
    z, q = (torch.tensor(a, dtype=torch.float32, device=device) for a in np.polynomial.legendre.leggauss(nodes))
    x = torch.cartesian_prod(*[z] * tasks).reshape(-1, tasks)
    return x, torch.cartesian_prod(*[q / 2] * tasks).reshape(-1, tasks).prod(1)


def _priced(stack, weights, rate):
    """The stack, learning rates and decays (total,) with every output i in units of 1/sqrt(T weight_i).

    In these units the plain mean squared error over the T outputs is Σ_i weight_i MSE_i, and Adam with the rates and
    decays returned does what it would do in the old units on that loss plus LAMBDA times the squared parameters.
    `weights` is (members, T); the stack is changed in place.
    """
    unit = (weights * weights.shape[1]).sqrt()
    rates, decays = torch.full_like(stack.theta, rate), torch.full_like(stack.theta, 2 * LAMBDA)
    start = 0
    for theta, r, d in zip(stack.layers(), stack.layers(rates), stack.layers(decays), strict=True):
        u = unit[start : start + len(theta[-1][0])]
        for packed, exponent in ((theta, 1), (r, 1), (d, -2)):
            V, c = packed[-1]
            V.mul_(u[:, :, None] ** exponent)
            c.mul_(u**exponent)
        d[-1][1].zero_()
        start += len(u)
    return unit, rates, decays


@dataclass(frozen=True)
class Sweep:
    """Networks of one hidden layer after training, for K cells (settings of the task weights) and several seeds.

    Attributes:
        tasks: T names in `TASKS`.
        weights: (K, T).
        w, b, v, c: (K, seeds, H, T), (K, seeds, H), (K, seeds, H, T), (K, seeds, T).
        losses: mean squared error of each task, (K, seeds, T).
    """

    tasks: tuple
    weights: torch.Tensor
    w: torch.Tensor
    b: torch.Tensor
    v: torch.Tensor
    c: torch.Tensor
    losses: torch.Tensor

    @property
    def owners(self):
        """Whether each neuron serves each task, (K, seeds, H, T) bool: it serves the one of largest |w v|, if any."""
        strength = (self.w * self.v).abs()
        mine = strength == strength.amax(3, keepdim=True)
        return mine & (self.w.abs() > THRESHOLD) & (self.v.abs() > THRESHOLD)

    @property
    def neurons(self):
        """How many neurons serve each task, (K, seeds, T)."""
        return self.owners.sum(2)

    @property
    def objective(self):
        """J of every network, (K, seeds)."""
        price = self.w.square().sum((2, 3)) + self.b.square().sum(2) + self.v.square().sum((2, 3))
        return (self.losses * self.weights[:, None]).sum(2) + LAMBDA * price

    def exponent(self, least=3):
        """alpha of loss ~ N^-alpha for one task, over the cells with at least `least` neurons on average, with interval."""
        neurons, losses = self.neurons[:, :, 0], self.losses[:, :, 0]
        use = neurons.double().mean(1) >= least
        return power(neurons[use], losses[use])

    def error(self, cell, seed, x):
        """f(x) - t(x) of one network of one task at x (P,)."""
        h = x[:, None] * self.w[cell, seed, :, 0] + self.b[cell, seed]
        return self.c[cell, seed, 0] + torch.nn.functional.silu(h) @ self.v[cell, seed, :, 0] - TASKS[self.tasks[0]](x)


def sweep(
    weights,
    widths,
    seeds,
    steps,
    *,
    tasks=("x²",),
    rate=1e-2,
    scale=0.3,
    paired=False,
    seed=0,
    device="cpu",
    progress=iter,
):
    """Train `seeds` networks of every width for every row of task weights, all in one packed buffer.

    Args:
        weights: (K, T) task weights > 0, or (K,) for one task.
        widths: hidden widths; one sweep each is returned.
        seeds: networks for each cell and width.
        steps: full-batch Adam updates, the rate falling along half a cosine.
        tasks: T names in `TASKS`, one for each input and output.
        rate, scale: learning rate; initial w, b, v ~ U(-scale, scale).
        paired: start with w of alternating sign and v > 0, as mirror pairs have them.
        seed, device, progress: of the initialisation; where to train; a wrapper for an iterable.

    Returns:
        A list of `Sweep`, one for each width, on the CPU.
    """
    check("tasks", list(tasks), [set(TASKS)])
    weights = torch.as_tensor(weights, dtype=torch.float32, device=device)
    weights = weights[:, None] if weights.dim() == 1 else weights
    if weights.shape[1] != len(tasks) or not bool((weights > 0).all()):
        raise ValueError(f"weights = {weights.tolist()}: expected positive rows of {len(tasks)} numbers")
    K, T = weights.shape
    x, q = grid(T, 16 if T == 1 else 6, device)
    y = torch.stack([TASKS[name](x[:, i]) for i, name in enumerate(tasks)], 1)
    stack = random_stack([(K * seeds, (T, n, T)) for n in widths], seed=seed, scale=scale, device=device)
    if paired:
        for (W, _), (V, _) in stack.layers():
            W.abs_()[:, ::2].neg_()
            V.abs_()
    unit, rates, decays = _priced(stack, weights.repeat_interleave(seeds, 0).repeat(len(widths), 1), rate)
    problem = Regression(stack, x, y * unit[:, None], weight=q)
    optimiser = Adam(rates, decays, schedule=cosine(steps, 1e-4), eps=1e-12)
    run = train(problem, optimiser, steps, at=range(0, steps, 1000), progress=progress)
    outputs = (run.problem.stack(x) / unit[:, None]).unflatten(0, (len(widths), K, seeds)).cpu()
    losses = ((outputs - y.cpu()).square() * q.cpu()[:, None]).sum(-2)
    sweeps, unit = [], unit.view(len(widths), K * seeds, T)
    for layers, u, loss in zip(run.problem.stack.layers(), unit, losses, strict=True):
        (W, b), (V, c) = layers
        parts = W, b, (V / u[:, :, None]).transpose(1, 2), c / u
        sweeps.append(Sweep(tuple(tasks), weights.cpu(), *(t.unflatten(0, (K, seeds)).cpu() for t in parts), loss))
    return sweeps


def parallel(shares, weights, width, seeds, steps, *, tasks=("x²", "x²"), **options):
    """Train networks on two tasks side by side, for every share of the first and every task weight.

    The weights of the two tasks are weight · share and weight · (1 - share).

    Args:
        shares: B numbers in (0, 1).
        weights: A numbers > 0.
        width, seeds, steps, tasks, options: as for `sweep`.

    Returns:
        Neurons and losses of each task, (B, A, seeds, 2) each.
    """
    check("shares", shares, [float], above=0)
    if max(shares) >= 1:
        raise ValueError(f"shares = {shares!r}: expected numbers < 1")
    cells = [[a * s, a * (1 - s)] for s in shares for a in weights]
    (run,) = sweep(cells, [width], seeds, steps, tasks=tasks, scale=0.2, **options)
    return tuple(part.unflatten(0, (len(shares), len(weights))) for part in (run.neurons, run.losses))


def onset(weights, neurons):
    """The first of ascending task weights (A,) where the seeds have more than 2.5 neurons (A, seeds) on average, or NaN."""
    above = (neurons.double().mean(1) > 2.5).nonzero().flatten()
    return float(weights[int(above[0])]) if len(above) else math.nan


def series(weights, seeds, steps, *, width=20, points=512, rate=1e-2, seed=0, device="cpu", progress=iter):
    """Train networks of four hidden layers on y = √g, g = (x1 - x2)² + (x3 - x4)², x uniform on [-1, 1]⁴.

    Args:
        weights: K task weights > 0.
        seeds: networks for each weight.
        steps: full-batch Adam updates on `points` fixed random points, the rate falling along half a cosine.
        width: neurons in each hidden layer.
        points, rate, seed, device, progress: of the data; as for `sweep`.

    Returns:
        Neurons in use (K, seeds): in and out they have a weight above THRESHOLD. Losses (K, seeds) on 4096 fresh points.
        The largest |correlation| of a single neuron of each hidden layer with g there, (K, seeds, 4).
    """
    weights = torch.as_tensor(weights, dtype=torch.float32, device=device)
    generator = torch.Generator().manual_seed(seed)
    x, fresh = (torch.rand(n, 4, generator=generator).to(device) * 2 - 1 for n in (points, 4096))

    def inner(x):
        return (x[:, 0] - x[:, 1]).square() + (x[:, 2] - x[:, 3]).square()

    stack = random_stack([(len(weights) * seeds, (4, width, width, width, width, 1))], seed=seed, device=device)
    unit, rates, decays = _priced(stack, weights.repeat_interleave(seeds)[:, None], rate)
    problem = Regression(stack, x, inner(x).sqrt()[:, None] * unit[:, None])
    optimiser = Adam(rates, decays, schedule=cosine(steps, 1e-4), eps=1e-12)
    trained = train(problem, optimiser, steps, at=range(0, steps, 1000), progress=progress).problem.stack
    layers, h = trained.layers()[0], fresh.T.expand(trained.members, -1, -1)
    used, correlations, g = 0, [], inner(fresh) - inner(fresh).mean()
    for (W, b), (V, _) in itertools.pairwise(layers):
        h = torch.nn.functional.silu(torch.baddbmm(b[:, :, None], W, h))
        used = used + ((W.abs().amax(2) > THRESHOLD) & (V.abs().amax(1) > THRESHOLD)).sum(1)
        centred = h - h.mean(2, keepdim=True)
        correlation = (centred @ g).abs() / (centred.norm(dim=2) * g.norm()).clamp_min(1e-12)
        correlations.append(correlation.amax(1))
    losses = ((trained(fresh)[:, :, 0] / unit - (g + inner(fresh).mean()).sqrt()) ** 2).mean(1)
    shape = (len(weights), seeds)
    return used.view(shape).cpu(), losses.view(shape).cpu(), torch.stack(correlations, 1).unflatten(0, shape).cpu()
