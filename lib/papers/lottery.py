"""Liu and Tegmark, "A Neural Scaling Law from Lottery Ticket Ensembling" (arXiv:2310.02258).

The task is y = x² on [-2, 2], the model f(x) = c + Σ v_i s(w_i x + b_i) with N hidden neurons. Everything here measures
trained networks: which law the loss follows, whether averaging networks lowers it, and what shape the error has.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..checks import check
from ..kernels.exponents import exponent, slope
from ..kernels.least_squares import levenberg_marquardt
from ..kernels.mirror import KAPPA
from ..kernels.mirror import quartic as unit_quartic
from ..kernels.mlp import Regression, Stack, random_stack
from ..kernels.optimisers import SGD, Adam, drops
from ..kernels.training import schedule, train

__all__ = ["SGD", "Adam", "Sweep", "drops", "schedule"]

R = 2.0  # inputs lie in [-R, R]


def target(x):
    """y = x²."""
    return x * x


def points(activation, device="cpu"):
    """Inputs (P, 1) and weights (P,) that average over [-R, R], float32.

    Smooth activations: 32 Gauss-Legendre nodes. Piecewise linear ones: 128 evenly spaced points, both ends included, so
    that there are more points than kinks up to width 128.
    """
    if activation in ("relu", "leaky_relu"):
        nodes = np.linspace(-1, 1, 128)
        weights = np.full(128, 1 / 128)
    else:
        nodes, weights = np.polynomial.legendre.leggauss(32)
        weights = weights / 2
    x = torch.tensor(R * nodes, dtype=torch.float32, device=device)[:, None]
    return x, torch.tensor(weights, dtype=torch.float32, device=device)


@dataclass(frozen=True)
class Sweep:
    """Networks of several widths and many seeds, trained together.

    Attributes:
        widths: (K,) int64.
        steps: recorded steps, (T,) int64.
        x, weight: the inputs (P,) and their weights (P,).
        outputs: what each network says there, (T, K, seeds, P).
        stack: the networks at the last step.
    """

    widths: torch.Tensor
    steps: torch.Tensor
    x: torch.Tensor
    weight: torch.Tensor
    outputs: torch.Tensor
    stack: Stack

    @property
    def errors(self):
        """f(x) - x², (T, K, seeds, P)."""
        return self.outputs - target(self.x)

    @property
    def losses(self):
        """Mean squared errors, (T, K, seeds)."""
        return (self.errors.square() * self.weight).sum(-1)

    def at(self, step):
        """Index of the recorded step nearest to `step`."""
        return int((self.steps - step).abs().argmin())

    def exponent(self, step, low=1, high=10**9):
        """alpha of median loss ~ N^-alpha over widths in [low, high] at `step`, with its 95 % bootstrap interval."""
        use = (self.widths >= low) & (self.widths <= high)
        return exponent(self.widths[use], self.losses[self.at(step)][use])

    def exponents(self):
        """alpha at every recorded step, over all widths, (T,)."""
        return -slope(self.widths.double().log(), self.losses.double().quantile(0.5, 2).log())

    def layers(self, width):
        """w, b, v of the networks of one width at the last step, each (seeds, width)."""
        (W, b), (V, _) = self.stack.layers()[self.widths.tolist().index(width)]
        return W[:, :, 0], b, V[:, 0]


def sweep(widths, seeds, optimiser, steps, *, activation="silu", scale=None, at=(), seed=0, device="cpu", progress=iter):
    """Train `seeds` networks of every width on y = x², all in one packed buffer.

    Args:
        widths: hidden widths.
        seeds: networks for each width.
        optimiser: an `Adam` or `SGD`.
        steps: full-batch updates.
        activation: name of the hidden activation.
        scale: None for PyTorch's initialisation, a number for w, b, v ~ U(-scale, scale) and c = 0.
        at: steps to record.
        seed: of the initialisation.
        device: where to train.
        progress: a wrapper for an iterable.

    Returns:
        A `Sweep`.

    Raises:
        ValueError: for a bad argument.
    """
    check("widths", widths, [int], low=1)
    check("seeds", seeds, int, low=1)
    x, weight = points(activation, device)
    stack = random_stack([(seeds, (1, n, 1)) for n in widths], activation, seed=seed, scale=scale, device=device)
    problem = Regression(stack, x, target(x), weight=weight)
    run = train(problem, optimiser, steps, at=at, record=lambda _, now: now.stack(x)[..., 0], progress=progress)
    outputs = torch.stack(run.records).unflatten(1, (len(widths), seeds)).cpu()
    return Sweep(torch.tensor(widths), run.steps, x[:, 0].cpu(), weight.cpu(), outputs, run.problem.stack)


def bias_share(sweep, step):
    """Share of the mean loss that all seeds have in common, (K,): bias² / (bias² + variance).

    With the mean prediction m over S seeds, variance = mean over x of Σ(f - m)²/(S - 1) and
    bias² = mean over x of (m - y)² - variance/S, which corrects m for its own scatter.
    """
    errors = sweep.errors[sweep.at(step)].double()
    variance = (errors.var(1) * sweep.weight).sum(-1)
    bias = (errors.mean(1).square() * sweep.weight).sum(-1) - variance / errors.shape[1]
    return bias / (bias + variance)


def ensemble_loss(sweep, step, size):
    """Loss of the average of `size` networks over the mean loss of one, (K,): the seeds are cut into disjoint groups."""
    errors = sweep.errors[sweep.at(step)].double()
    groups = errors.shape[1] // size
    averaged = errors[:, : groups * size].unflatten(1, (groups, size)).mean(2)
    return (averaged.square() * sweep.weight).sum(-1).mean(1) / (errors.square() * sweep.weight).sum(-1).mean(1)


def quartic(x):
    """Legendre's P4(x/R), the shape of the error."""
    return unit_quartic(x / R)


def quartic_share(sweep, step):
    """Share of the squared error that lies along P4(x/R), summed over the seeds, (K,)."""
    errors, shape = sweep.errors[sweep.at(step)].double(), quartic(sweep.x.double())
    along = (errors * shape * sweep.weight).sum(-1).square() / (shape.square() * sweep.weight).sum()
    return along.sum(1) / (errors.square() * sweep.weight).sum((1, 2))


def participating(w, v):
    """Which neurons carry the parabola: v w² above 5 % of the network's largest. Shapes (seeds, N), a bool mask."""
    strength = v * w * w
    return strength > 0.05 * strength.amax(1, keepdim=True)


def tickets(sweep):
    """For every width: share of participating neurons, share of those with w < 0, mean |w|, predicted loss; (K, 4).

    The prediction KAPPA R^8 <|w|>^4 is what is left of x² when mirror pairs v[s(wx) + s(-wx)] with v w² n = 2 fit it
    (`kernels.mirror`).
    """
    rows = []
    for n in sweep.widths.tolist():
        w, _, v = sweep.layers(n)
        mask = participating(w, v)
        size = w.abs()[mask].mean()
        left = (w < 0)[mask].double().mean()
        rows.append([mask.double().mean(), left, size, KAPPA * R**8 * size**4])
    return torch.tensor(rows)


def pairs(count, optimiser, steps, **options):
    """Train `count` networks of two neurons. Returns losses, parameters w, b, v (count, 2), and which are symmetric.

    Symmetric means a mirror pair to 10 %: w1 = -w2, b1 = b2, v1 = v2. Options as for `sweep`.
    """
    run = sweep([2], count, optimiser, steps, **options)
    w, b, v = run.layers(2)
    unlike = [((p[:, 0] - sign * p[:, 1]) / p.abs().sum(1)).abs() for p, sign in ((w, -1), (b, 1), (v, 1))]
    return run.losses[-1, 0], (w, b, v), (torch.stack(unlike).amax(0) < 0.1).cpu()


def peaks(losses, width=0.02, least=0.02):
    """Sharp peaks of a sample of losses: (centre, share) for each cluster, ascending.

    Losses within `width` (in log10) of a neighbour belong together; clusters with less than `least` of the sample are noise.
    """
    logs = losses.log10().sort().values
    cuts = (logs.diff() > width).nonzero().flatten() + 1
    clusters = torch.tensor_split(logs, cuts.tolist())
    return [(10 ** c.median().item(), len(c) / len(logs)) for c in clusters if len(c) >= least * len(logs)]


def mirror_distance(w, b):
    """Distance of each (w, b) to the nearest (-w, b) and, as control, to the nearest (w, -b) of the same network.

    Shapes (networks, N); returns (2, networks, N).
    """
    here = torch.stack([w, b], 2)
    flips = torch.tensor([[-1.0, 1.0], [1.0, -1.0]], dtype=here.dtype, device=here.device)
    return torch.stack([torch.cdist(here, here * flip).amin(2) for flip in flips])


def floor(widths, seeds, iterations, *, seed=0, progress=iter):
    """Losses that Levenberg-Marquardt reaches in float64 on SiLU networks, (K, seeds)."""
    x, weight = (t.double() for t in points("silu"))
    root, y, losses = weight.sqrt(), target(x[:, 0]), []

    for n in progress(widths):
        stack = random_stack([(seeds, (1, n, 1))], seed=seed, dtype=torch.float64)

        def residuals(theta, n=n):
            w, b, v, c = theta.split([n, n, n, 1])
            h = x * w + b
            return root * ((h * torch.sigmoid(h)) @ v + c - y)

        losses.append(levenberg_marquardt(residuals, stack.theta.view(seeds, -1), iterations)[1])
    return torch.stack(losses)


def exponent_map(rates, scales, widths, seeds, steps, at, *, activation="silu", seed=0, device="cpu", progress=iter):
    """The exponent as a function of learning rate, initial scale and training time, (len(scales), len(rates), T).

    One program trains every network: the cells of the map are members like any other, with a rate of their own. A scale
    of 0 stands for PyTorch's initialisation.
    """
    cells = [(s, r) for s in scales for r in rates]
    x, weight = points(activation, device)
    groups = [(len(cells) * seeds, (1, n, 1)) for n in widths]
    stack = random_stack(groups, activation, seed=seed, device=device)
    for n, group in zip(widths, stack.layers(), strict=True):
        for i, (s, _) in enumerate(cells):
            if s:
                rows = slice(i * seeds, (i + 1) * seeds)
                (W, b), (V, c) = ((W[rows], b[rows]) for W, b in group)
                W.mul_(s)
                b.mul_(s)
                V.mul_(s * n**0.5)
                c.zero_()
    rate = torch.tensor([r for _, r in cells], device=device).repeat_interleave(seeds).repeat(len(widths))
    run = train(Regression(stack, x, target(x), weight=weight), Adam(rate), steps, at=at, progress=progress)
    losses = run.losses.cpu().unflatten(1, (len(widths), len(cells), seeds))
    alphas = -slope(torch.tensor(widths).double().log(), losses.double().quantile(0.5, 3).log().movedim(1, 2))
    return alphas.T.unflatten(0, (len(scales), len(rates)))
