"""Hypernetworks in training, what they make, and networks of the same shape trained directly."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...checks import check
from ...kernels.optimisers import Adam, cosine
from ...kernels.problems import Differentiable
from ...kernels.training import train
from .generator import CODE, HIGH, LOW, generate, initial, noise_sizes, sphere
from .networks import SLOTS, error, merge_linear, misfit, nine_numbers, normal, outputs, rescaled
from .phases import CONVEXITY, DOUBLE, LABELS, MINUS, PLUS, Orders, classify, orders

HELD_OUT = 1 << 30  # the "step" whose draws no step of training sees
PRICES, POINTS = 3, 64  # at each step a hypernetwork makes this many networks, and each meets this many inputs


@dataclass(frozen=True)
class Recipe:
    """How hypernetworks are trained together.

    Attributes:
        seeds: hypernetworks.
        steps: updates of each.
        dims: numbers of inputs of the networks that they learn to make.
        gate: initial size of the gate, one for all or one for each, see `generator.initial`.
        seed: of initialisation and draws.
        device: where to train.
    """

    seeds: int
    steps: int
    dims: tuple[int, ...] | list[int]
    gate: float | Tensor = 1.5
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self):
        check("steps", self.steps, int, low=1)
        check("dims", self.dims, [int], low=2)


def draws(total: int, *shape: int, members: Int[Tensor, " members"], seed: int, step: int) -> Float[Tensor, "members ..."]:
    """Standard normal numbers for one step.

    Made for all `total` members, then picked: a member trains in company as it would alone.
    """
    return normal(total, *shape, seed=1_000_003 * seed + step, device=members.device)[members]


def objective(
    recipe: Recipe, parameters: dict, members: Int[Tensor, " members"], step: int | None
) -> Float[Tensor, " members"]:
    """What a hypernetwork minimises at the draws of `step`; without one, its loss l = ε + β nats on `HELD_OUT`.

    Every member makes a network at three prices, one in each third of the range of log β. Minimised is the mean of
    l / (l + 0.02), its denominator held fixed, so that every price counts alike, for l = ε + κ β nats. κ grows from 0 to 1
    between 15 % and 45 % of the steps. The number of inputs is one of `dims`, the same for all members.
    """
    report, step = step is None, HELD_OUT if step is None else step
    n = recipe.dims[step * 7919 % 10007 % len(recipe.dims)]
    sizes = (POINTS * n, n * CODE, sum(noise_sizes(n)), 1)
    drawn = draws(recipe.seeds, PRICES, sum(sizes), members=members, seed=recipe.seed, step=step)
    x, addresses, noise, place = drawn.to(parameters["base"].dtype).split(sizes, 2)
    places = torch.arange(PRICES, device=members.device) + torch.special.ndtr(place[..., 0])  # uniform in each third
    beta = 10 ** (LOW + (HIGH - LOW) * places / PRICES)
    W, w, nats = generate(parameters, beta, sphere(addresses.unflatten(2, (n, CODE))), noise)
    warm = min(max((step / recipe.steps - 0.15) / 0.3, 0.0), 1.0)
    loss = error(W, w, x.unflatten(2, (POINTS, n))) + warm * beta * nats
    return loss.mean(1) if report else (loss / (loss.detach() + 0.02)).mean(1)


def fit(
    recipe: Recipe, *, at: tuple[int, ...] | list[int] = (), record: Callable | None = None, progress: Callable = iter
) -> tuple[dict[str, Tensor], list]:
    """Train hypernetworks together.

    Adam at 6e-3, warmed up over 50 steps and falling to a twentieth along a cosine; each member's gradient is clipped at 5.

    Args:
        recipe: how.
        at, record, progress: see `lib.kernels.training.train`; `record` is called with (step, parameters).

    Returns:
        The trained parameters and the list of records.
    """
    start = initial(recipe.seeds, recipe.gate, recipe.seed, recipe.device)
    fall = cosine(recipe.steps, 0.05)
    optimiser = Adam(6e-3, clip=5.0, schedule=lambda t: min(1.0, (t + 1) / 50) * fall(t))
    look = record and (lambda step, problem: record(step, problem.parameters))
    problem = Differentiable(functools.partial(objective, recipe), start)
    run = train(problem, optimiser, recipe.steps, at=at, record=look, progress=progress)
    return run.problem.parameters, run.records


# ---- what they make ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """Networks of n inputs that S hypernetworks make at B prices, on the CPU: twice, with new noise and the same addresses.

    Attributes:
        beta: prices, (B,).
        W, w: networks, (2, S, B, h, n), (2, S, B, h).
        nats: what the networks' descriptions cost, (S, B).
        eps: errors of the two, (2, S, B).
        fitted: error of the first with its output rescaled by the best factor, (S, B).
        orders: order parameters of the first, each (S, B).
    """

    beta: Tensor
    W: Tensor
    w: Tensor
    nats: Tensor
    eps: Tensor
    fitted: Tensor
    orders: Orders

    @functools.cached_property
    def labels(self) -> Int[Tensor, "S B"]:
        """Indices into `phases.LABELS`."""
        return classify(self.eps[0], self.orders)

    @property
    def puddings(self) -> Tensor:
        """Which networks are puddings, of either sign, bool (S, B)."""
        return (self.labels == PLUS) | (self.labels == MINUS)

    @property
    def doubles(self) -> Tensor:
        """Which networks are double-sided, bool (S, B)."""
        return self.labels == DOUBLE

    @property
    def convexities(self) -> Tensor:
        """Which networks are convexity, bool (S, B)."""
        return self.labels == CONVEXITY

    def shares(self) -> Float[Tensor, "B labels"]:
        """Share of the hypernetworks with each label."""
        return F.one_hot(self.labels, len(LABELS)).double().mean(0)

    def best(self, label: int, prices: slice) -> tuple[Tensor, Tensor, Tensor] | None:
        """The network (W, w, ε) of least error with a label, at the prices of a slice; None if there is none."""
        eps = self.eps[0].masked_fill(self.labels != label, math.inf)[:, prices]
        if not bool(eps.isfinite().any()):
            return None
        s, b = divmod(int(eps.argmin()), eps.shape[1])
        return self.W[0, s, prices][b], self.w[0, s, prices][b], eps[s, b]


@torch.no_grad()
def survey(parameters: dict[str, Tensor], n: int, beta: list[float], *, seed: int = 0) -> Survey:
    """Let every hypernetwork make networks of `n` inputs at every price in `beta`, and examine them at 1000 inputs.

    Raises:
        ValueError: for a bad argument.
    """
    check("n", n, int, low=2)
    check("beta", beta, [float], above=0)
    base = parameters["base"]
    S, B, device = len(base), len(beta), base.device
    prices = torch.as_tensor(beta, dtype=torch.float32, device=device).expand(S, B)
    addresses = sphere(normal(S, 1, n, CODE, seed=seed + 1, device=device)).expand(S, B, n, CODE)
    noise = normal(2, S, B, sum(noise_sizes(n)), seed=seed + 2, device=device)
    made = [generate(parameters, prices, addresses, draw) for draw in noise]
    W, w = torch.stack([m[0] for m in made]), torch.stack([m[1] for m in made])
    x = normal(1000, n, seed=seed + 3, device=device)
    said = [outputs(*network, x) for network in zip(W, w, strict=True)]
    eps, fitted = torch.stack([misfit(f, x) for f in said]), misfit(rescaled(said[0], x), x)
    found = orders(W[0], w[0], W[1], x)
    return Survey(prices[0].cpu(), W.cpu(), w.cpu(), made[0][2].cpu(), eps.cpu(), fitted.cpu(), found.cpu())


def surgery(survey: Survey, b: int, seed: int = 0) -> Float[Tensor, "S 3"]:
    """ε of puddings at the price with index b: whole, after `merge_linear`, without that slot; NaN for others."""
    x = normal(4000, survey.W.shape[-1], seed=seed)
    errors = torch.full((len(survey.nats), 3), math.nan)
    for s in torch.nonzero(survey.puddings[:, b]).flatten().tolist():
        W, w = survey.W[0, s, b], survey.w[0, s, b]
        errors[s] = torch.stack([error(*network, x) for network in ((W, w), *merge_linear(W, w))])
    return errors


def retold(survey: Survey, b: int, seed: int = 0) -> Float[Tensor, " S"]:
    """Share of the variance of each network's outputs, at the price with index b, that its nine numbers explain.

    The outputs f' of `nine_numbers` explain 1 - E(f - f')² / Var f, which may be negative.
    """
    x = normal(4000, survey.W.shape[-1], seed=seed)
    W, w = survey.W[0, :, b], survey.w[0, :, b]
    said, told = outputs(W, w, x), outputs(*nine_numbers(W, w), x)
    return 1 - (said - told).square().mean(-1) / said.var(-1, correction=0)


# ---- ordinary training ---------------------------------------------------------------------------------------------------


def train_directly(
    rates: list[float], seeds: int, steps: int, n: int = 16, *, seed: int = 0, device: str = "cpu", progress: Callable = iter
) -> tuple[Float[Tensor, "rates seeds h n"], Float[Tensor, "rates seeds h"], Float[Tensor, "rates seeds"]]:
    """Networks with 3n hidden neurons trained by Adam on fresh inputs, `seeds` for each learning rate: W, w and ε.

    Weights start as N(0, 1/fan-in); the rate falls to a twentieth along a cosine; a step sees 128 inputs.

    Raises:
        ValueError: for a bad argument.
    """
    check("rates", rates, [float], above=0)
    check("seeds", seeds, int, low=1)
    total, h = len(rates) * seeds, SLOTS * n

    def loss(parameters, members, step):
        x = draws(total, 128, n, members=members, seed=seed, step=HELD_OUT if step is None else step)
        return error(parameters["W"], parameters["w"], x)

    start = {"W": normal(total, h, n, seed=seed) / math.sqrt(n), "w": normal(total, h, seed=seed + 1) / math.sqrt(h)}
    problem = Differentiable(loss, {name: t.to(device) for name, t in start.items()})
    rate = torch.tensor(rates).repeat_interleave(seeds).to(device)
    found = train(problem, Adam(rate, schedule=cosine(steps, 0.05)), steps, progress=progress).problem.parameters
    eps = error(found["W"], found["w"], normal(4096, n, seed=seed + 2, device=device))
    return tuple(t.cpu().unflatten(0, (len(rates), seeds)) for t in (found["W"], found["w"], eps))
