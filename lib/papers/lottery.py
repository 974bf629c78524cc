"""Liu and Tegmark, "A Neural Scaling Law from Lottery Ticket Ensembling" (arXiv:2310.02258).

The task is y = x² on [-2, 2] (or the sum of squares in d dimensions), the model f(x) = c + Σ v_i s(w_i·x + b_i) with N
hidden neurons. Everything here measures trained networks: which law the loss follows, how much of their error different
networks share, what shape it has, and whether the parts of one network err independently.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.quasirandom import SobolEngine

from ..checks import check
from ..kernels.exponents import slope
from ..kernels.least_squares import levenberg_marquardt
from ..kernels.mlp import Regression, Stack, random_stack
from ..kernels.optimisers import Adam, Optimiser
from ..kernels.training import train

R = 2.0  # inputs lie in [-R, R]^d
KAPPA = 64 / 144 / 11025  # loss = KAPPA R^8 w^4 for mirror pairs: (1/12)^2 (8/35)^2 of the squared norm 1/9 of P4
LEARN = 16  # nodes that smooth networks learn from: their losses are right to 0.1 % there
LOOK = 32  # nodes at which they are judged
GRIDS = {1: 256, 2: 24}  # points along an axis for ReLU networks, by dimension: more than they have kinks
SCATTERED = 1024  # points for them in three dimensions
COOLING = 1 / 30  # factor on the rate in the updates that calm Adam's own noise,
COOL_STEPS = 200  # and their number


def target(x: Float[Tensor, "*shape d"]) -> Float[Tensor, "*shape 1"]:
    """y = Σ x_i²."""
    return x.square().sum(-1, keepdim=True)


def nodes(count: int, device: str = "cpu") -> tuple[Float[Tensor, "points 1"], Float[Tensor, " points"]]:
    """`count` Gauss-Legendre nodes on [-R, R] and weights that average over it, float32: the inputs of smooth networks."""
    x, weight = np.polynomial.legendre.leggauss(count)
    return tuple(torch.tensor(t, dtype=torch.float32, device=device) for t in (R * x[:, None], weight / 2))


def points(dimension: int, device: str = "cpu") -> Float[Tensor, "points d"]:
    """The inputs of ReLU networks, float32: an evenly spaced grid in [-R, R]^d, ends included, or Sobol points for d = 3.

    No two Sobol points share a coordinate. A grid with fewer planes along an axis than a network has kinks can be fitted at
    its points and nowhere else, and in three dimensions one with more has too many points.
    """
    check("dimension", dimension, int, low=1, high=max(GRIDS) + 1)
    if dimension not in GRIDS:
        return R * (2 * SobolEngine(dimension, scramble=True, seed=0).draw(SCATTERED).to(device) - 1)
    axis = torch.linspace(-R, R, GRIDS[dimension], device=device)
    return torch.cartesian_prod(*[axis] * dimension).reshape(-1, dimension)


@dataclass(frozen=True)
class Setting:
    """How networks are made: what many runs share.

    Attributes:
        seeds: networks of every kind.
        activation: of the hidden neurons.
        seed: of the initialisation.
        device: where to train.
        progress: a wrapper for an iterable.
    """

    seeds: int
    activation: str = "silu"
    seed: int = 0
    device: str = "cpu"
    progress: Callable = iter


# ---- what the errors of many networks have in common --------------------------------------------------------------------


def losses(errors: Float[Tensor, "*shape points"], weight: Float[Tensor, " points"]) -> Float[Tensor, "*shape"]:
    """Mean squared errors."""
    return (errors.square() * weight).sum(-1)


def median(values: Float[Tensor, "*shape units"]) -> Float[Tensor, "*shape"]:
    """Medians over the last axis, of an even number the mean of the middle two; unlike torch.quantile, also of no rows."""
    ordered, units = values.sort(-1).values, values.shape[-1]
    return (ordered[..., (units - 1) // 2] + ordered[..., units // 2]) / 2


def exponents(sizes: Tensor, losses: Float[Tensor, "*shape sizes seeds"]) -> Float[Tensor, "*shape"]:
    """α of median loss ~ size^-α, the median over seeds, by least squares in the logarithms, float64."""
    return -slope(sizes.double().log(), median(losses.double()).log())


def shared(
    errors: Float[Tensor, "*shape seeds points"], weight: Float[Tensor, " points"], unit: Tensor | None = None
) -> Float[Tensor, "*shape"]:
    """Share of the mean loss that different networks have in common: bias² / (bias² + variance).

    bias² is the mean product of the errors of two different networks, which is unbiased; variance is the rest of the loss.
    The mean of K networks keeps shared + (1 - shared)/K of the loss of one.

    Args:
        errors: f(x) - y of networks that differ in their seed alone.
        weight: of the points, sums to 1.
        unit: (*, seeds) which network each is, where some occur more than once (as in a resample); None if all differ.
    """
    seeds = errors.shape[-2]
    product = torch.einsum("...ip,...jp->...ij", errors * weight, errors)
    unit = torch.arange(seeds, device=errors.device) if unit is None else unit
    other = (unit[..., :, None] != unit[..., None, :]).to(errors)
    other = other.reshape(*other.shape[:-2], *[1] * (product.dim() - other.dim()), seeds, seeds)
    common = (product * other).sum((-1, -2)) / other.sum((-1, -2))
    return common / product.diagonal(dim1=-2, dim2=-1).mean(-1)


def quartic(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Legendre's polynomial P4(x/R): the shape of x⁴ less the best parabola."""
    z = x / R
    return (35 * z**4 - 30 * z**2 + 3) / 8


def quartic_share(
    errors: Float[Tensor, "*shape seeds points"], x: Float[Tensor, " points"], weight: Float[Tensor, " points"]
) -> Float[Tensor, "*shape"]:
    """Share of the squared error that lies along P4(x/R), summed over the seeds."""
    shape = quartic(x)
    along = (errors * shape * weight).sum(-1).square() / (shape.square() * weight).sum()
    return along.sum(-1) / losses(errors, weight).sum(-1)


# ---- the map: rates, starts and times, one program ----------------------------------------------------------------------


@dataclass(frozen=True)
class Chart:
    """Networks of all rates, starts, widths and seeds of a map, at some times of their training.

    Attributes:
        rates, starts, widths: the axes; a start of 0 is PyTorch's.
        steps: recorded updates, (T,).
        x, weight: inputs (P,) and their weights.
        errors: f(x) - y as trained and cooled, (2, T, starts, rates, widths, seeds, P), float64.
        stacks: the cooled networks at each time, T of them.
    """

    rates: list[float]
    starts: list[float]
    widths: list[int]
    steps: list[int]
    x: Float[Tensor, " points"]
    weight: Float[Tensor, " points"]
    errors: Float[Tensor, "2 times starts rates widths seeds points"]
    stacks: list[Stack]

    def at(self, start: float, rate: float, step: int) -> tuple[int, int, int]:
        """Where a cell stands on the axes (times, starts, rates) of `errors`: the nearest that there is."""
        wanted = ((self.steps, step), (self.starts, start), (self.rates, rate))
        return tuple(min(range(len(axis)), key=lambda k: abs(axis[k] - value)) for axis, value in wanted)

    def layers(self, start: float, rate: float, step: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """w, b, v of the cooled networks of one cell and width, each (seeds, width), float64."""
        t, i, j = self.at(start, rate, step)
        seeds, cell = self.errors.shape[-2], i * len(self.rates) + j
        (W, b), (V, _) = self.stacks[t].layers()[self.widths.index(width)]
        rows = slice(cell * seeds, (cell + 1) * seeds)
        return W[rows, :, 0].double().cpu(), b[rows].double().cpu(), V[rows, 0].double().cpu()


def chart(rates: list[float], starts: list[float], widths: list[int], steps: list[int], setting: Setting) -> Chart:
    """Train every network of a map in one packed buffer, each with its own rate and start.

    At each recorded time a copy of all networks is *cooled*: it learns on for COOL_STEPS updates at COOLING times its rate.
    That removes the jitter that Adam adds at a constant rate and hardly moves the network otherwise.

    Args:
        rates: of Adam.
        starts: 0 for PyTorch's initialisation, s for w, b, v ~ U(-s, s) and c = 0.
        widths: hidden neurons.
        steps: updates at which to record, ascending.
        setting: seeds, activation and so on.

    Raises:
        ValueError: for a bad argument.
    """
    for name, values, kind, low in (("rates", rates, float, 0), ("starts", starts, float, 0), ("widths", widths, int, 1)):
        check(name, values, [kind], low=low)
    check("steps", steps, [int], low=1)
    cells, count = [(s, r) for s in starts for r in rates], setting.seeds
    (x, weight), (seen, seen_weight) = nodes(LEARN, setting.device), nodes(LOOK, setting.device)
    groups = [(len(cells) * count, (1, n, 1)) for n in widths]
    stack = random_stack(groups, setting.activation, seed=setting.seed, device=setting.device)
    for n, group in zip(widths, stack.layers(), strict=True):
        for i, (s, _) in enumerate(cells):
            if s:
                (W, b), (V, c) = ((W[i * count : (i + 1) * count], b[i * count : (i + 1) * count]) for W, b in group)
                W.mul_(s), b.mul_(s), V.mul_(s * n**0.5), c.zero_()
    rate = torch.tensor([r for _, r in cells], device=setting.device).repeat_interleave(count).repeat(len(widths))

    def record(_, model):
        cooled = train(model, Adam(rate * COOLING), COOL_STEPS).problem.stack
        return torch.stack([model.stack(seen), cooled(seen)]), cooled

    problem = Regression(stack, x, target(x), weight=weight)
    run = train(problem, Adam(rate), steps[-1], at=steps, record=record, progress=setting.progress)
    outputs = torch.stack([o for o, _ in run.records], 1) - target(seen)  # (2, T, members, P, 1)
    errors = outputs[..., 0].unflatten(2, (len(widths), len(starts), len(rates), count)).movedim(2, 4).double().cpu()
    axes = {"rates": rates, "starts": starts, "widths": widths, "steps": run.steps.tolist()}
    return Chart(
        **axes, x=seen[:, 0].double().cpu(), weight=seen_weight.double().cpu(), errors=errors,
        stacks=[s for _, s in run.records],
    )  # fmt: skip


# ---- the tickets inside one network -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tickets:
    """The even parts of a network's neurons, as estimates of the parabola.

    Attributes:
        part: α_i, how much of the parabola ticket i contributes, (T,), descending; they add to nearly 1.
        errors: e_i(x), what ticket i, scaled to be a parabola of its own, gets wrong, (T, P).
        weight: of the points.
    """

    part: Float[Tensor, " tickets"]
    errors: Float[Tensor, "tickets points"]
    weight: Float[Tensor, " points"]

    @property
    def products(self) -> Float[Tensor, "tickets tickets"]:
        """Mean products of the errors; the diagonal holds each ticket's own loss."""
        return (self.errors * self.weight) @ self.errors.T

    @property
    def correlation(self) -> Float[Tensor, "tickets tickets"]:
        """Correlations of the errors."""
        own = self.products.diagonal().sqrt()
        return self.products / (own[:, None] * own)

    def kept(self) -> Float[Tensor, " tickets"]:
        """Loss of the mean, weighted by α, of the best k tickets, for k = 1 to all: best, with the smallest error."""
        order = self.products.diagonal().argsort()
        part = self.part[order]
        mean = (part[:, None] * self.errors[order]).cumsum(0) / part.cumsum(0)[:, None]
        return losses(mean, self.weight)

    def independent(self) -> Float[Tensor, " tickets"]:
        """What `kept` would be if the errors were independent: Σ α_i² ℓ_i / (Σ α_i)² over the best k."""
        own = self.products.diagonal()
        order = own.argsort()
        part = self.part[order]
        return (part.square() * own[order]).cumsum(0) / part.cumsum(0).square()


def tickets(
    w: Float[Tensor, " width"], b: Float[Tensor, " width"], v: Float[Tensor, " width"], x: Tensor, weight: Tensor
) -> Tickets:
    """Cut one SiLU network into tickets: each neuron together with its ideal mirror image (-w, b, v), at half weight.

    The network's even part is their sum, so without error the network is the mean of its tickets weighted by α:
    f(x) - y = Σ α_i e_i(x), with α_i the regression of ticket i on y. Neurons below 5 % of the largest α are left out.
    """
    y = target(x[:, None])[:, 0]
    y = y - (y * weight).sum()
    ticket = v[:, None] / 2 * sum(torch.nn.functional.silu(side * w[:, None] * x + b[:, None]) for side in (1, -1))
    ticket = ticket - (ticket * weight).sum(1, keepdim=True)
    part = (ticket * y * weight).sum(1) / (y * y * weight).sum()
    order = part.argsort(descending=True)
    order = order[part[order] > 0.05 * part.max()]
    return Tickets(part[order], ticket[order] / part[order, None] - y, weight)


# ---- single runs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """Networks of several widths and many seeds, trained together.

    Attributes:
        sizes: parameters of a network, by width, (K,).
        errors: f(x) - y at points that were not used for training, (K, seeds, P).
        stack: the networks.
    """

    sizes: Int64[Tensor, " widths"]
    errors: Float[Tensor, "widths seeds points"]
    stack: Stack

    @property
    def losses(self) -> Float[Tensor, "widths seeds"]:
        """Mean squared errors."""
        return self.errors.square().mean(-1)


def sweep(
    widths: list[int], optimiser: Optimiser, steps: int, setting: Setting, *, dimension: int = 1, smooth: bool = False
) -> Sweep:
    """Train networks of every width from PyTorch's start, all in one packed buffer; judge them at 1024 Sobol points.

    Args:
        widths: hidden neurons.
        optimiser: an `Adam` or `SGD`.
        steps: full-batch updates.
        setting: seeds, activation and so on.
        dimension: of the input.
        smooth: whether to learn from `nodes` (in one dimension) instead of `points`.

    Raises:
        ValueError: for a bad argument.
    """
    check("widths", widths, [int], low=1)
    check("seeds", setting.seeds, int, low=1)
    x, weight = nodes(LEARN, setting.device) if smooth else (points(dimension, setting.device), None)
    groups = [(setting.seeds, (dimension, n, 1)) for n in widths]
    stack = random_stack(groups, setting.activation, seed=setting.seed, device=setting.device)
    run = train(
        Regression(stack, x, target(x), weight=weight), optimiser, steps,
        at=range(0, steps, max(1, steps // 100)), progress=setting.progress,
    )  # fmt: skip
    fresh = R * (2 * SobolEngine(dimension).draw(1024).to(x) - 1)
    errors = (run.problem.stack(fresh) - target(fresh))[..., 0].unflatten(0, (len(widths), setting.seeds))
    return Sweep(torch.tensor([(dimension + 2) * n + 1 for n in widths]), errors.double().cpu(), run.problem.stack)


def along_axes(run: Sweep, ratio: float) -> Float[Tensor, " seeds"]:
    """Share of a network's neurons, over all widths, whose second largest |w_i| is below `ratio` of the largest.

    Of neurons drawn uniformly from the square [-1, 1]² that is `ratio` itself.
    """
    each = []
    for (W, _), _ in run.stack.layers():
        second, largest = W.abs().sort(-1).values[..., -2:].unbind(-1)
        each.append(second < ratio * largest)
    return torch.cat(each, 1).double().mean(1).cpu()


def layers(run: Sweep) -> tuple[Tensor, Tensor, Tensor]:
    """w, b, v of the networks of a sweep with one width and one input, each (seeds, width)."""
    ((W, b), (V, _)) = run.stack.layers()[0]
    return W[:, :, 0].cpu(), b.cpu(), V[:, 0].cpu()


def symmetric(run: Sweep) -> Bool[Tensor, " seeds"]:
    """Which networks of two neurons are mirror pairs, w1 = -w2, b1 = b2, v1 = v2, each to 10 %."""
    signs = zip(layers(run), (-1, 1, 1), strict=True)
    unlike = [((p[:, 0] - sign * p[:, 1]) / p.abs().sum(1)).abs() for p, sign in signs]
    return torch.stack(unlike).amax(0) < 0.1


def mirror_distance(w: Float[Tensor, "seeds width"], b: Float[Tensor, "seeds width"]) -> Float[Tensor, "2 seeds width"]:
    """Distance of each (w, b) to the nearest (-w, b) and, as control, to the nearest (w, -b) of the same network."""
    here = torch.stack([w, b], 2)
    flips = torch.tensor([[-1.0, 1.0], [1.0, -1.0]], dtype=here.dtype)
    return torch.stack([torch.cdist(here, here * flip).amin(2) for flip in flips])


def floor(widths: list[int], iterations: int, setting: Setting) -> Float[Tensor, "widths seeds"]:
    """Losses that Levenberg-Marquardt reaches in float64 on SiLU networks from PyTorch's start."""
    x, weight = (t.double() for t in nodes(LOOK))
    root, y, found = weight.sqrt(), target(x)[:, 0], []
    for n in setting.progress(widths):
        stack = random_stack([(setting.seeds, (1, n, 1))], seed=setting.seed, dtype=torch.float64)

        def residuals(theta, n=n):
            w, b, v, c = theta.split([n, n, n, 1])
            h = x * w + b
            return root * ((h * torch.sigmoid(h)) @ v + c - y)

        found.append(levenberg_marquardt(residuals, stack.theta.view(setting.seeds, -1), iterations)[1])
    return torch.stack(found)
