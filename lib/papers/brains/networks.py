"""Recurrent networks on a sheet where wire has a price, many at once: h_t = relu(W h_{t-1} + U x_t + b), answers V h + c."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...checks import check
from ...kernels.optimisers import Adam
from ...kernels.rate import Packed, RateNetworks, RateTraining
from ...kernels.training import train
from .swaps import exchange, wires
from .tasks import TASKS, mixture, trials

PARTS = ("W", "U", "b", "V", "c")


@dataclass(frozen=True)
class Sheet:
    """Where units sit: `side`² hidden units on a grid in the unit square, the two input rings and the output ring above it.

    Attributes:
        lateral: distances between slots (n, n): |Δx| + |Δy|.
        inputs: from the input channels to the slots (n, inputs).
        outputs: from the slots to the answers (outputs, n).
        place: coordinates of the slots (n, 2).
    """

    side: int
    lateral: torch.Tensor
    inputs: torch.Tensor
    outputs: torch.Tensor
    place: torch.Tensor

    def to(self, device):
        """The same sheet on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("lateral", "inputs", "outputs", "place")})

    @property
    def units(self):
        """Number of hidden units n."""
        return self.side**2


def _ring(count, x, y, radius):
    angle = 2 * torch.pi * torch.arange(count) / count
    return torch.stack([x + radius * angle.cos(), y + radius * angle.sin()], 1)


def sheet(side, timing):
    """The sheet of `side` by `side` units for a `tasks.Timing`; inputs and outputs sit as in the paper's drawing."""
    check("side", side, int, low=2)
    grid = (torch.arange(side) + 0.5) / side
    place = torch.cartesian_prod(grid, grid).flip(1)  # row by row, (x, y)
    rules = torch.stack([(torch.arange(len(TASKS)) + 0.5) / len(TASKS), torch.zeros(len(TASKS))], 1)
    G, centre = timing.directions, torch.tensor([[0.5, 0.5]])
    sources = torch.cat([centre, _ring(G, 0.25, 0.5, 0.2), _ring(G, 0.75, 0.5, 0.2), rules])
    targets = torch.cat([centre, _ring(G, 0.5, 0.5, 0.25)])
    lateral, inputs, outputs = (torch.cdist(a, b, p=1) for a, b in ((place, place), (place, sources), (targets, place)))
    return Sheet(side, lateral, inputs, outputs, place)


def random_networks(seeds, units, inputs, outputs, device="cpu"):
    """Networks before training, one for each of `seeds`: W = I/2, U ~ N(0, 1/inputs), V ~ N(0, 1/units), b = c = 0."""
    check("seeds", list(seeds), [int], low=0)
    count = units * (units + inputs + 1) + outputs * (units + 1)
    stack = RateNetworks(torch.zeros(len(seeds), count), units, inputs, outputs)
    W, U, _, V, _ = stack.parts()
    W.copy_(0.5 * torch.eye(units))
    for member, seed in enumerate(seeds):
        rng = torch.Generator().manual_seed(seed)
        U[member] = torch.randn(units, inputs, generator=rng) * inputs**-0.5
        V[member] = torch.randn(outputs, units, generator=rng) * units**-0.5
    return replace(stack, theta=stack.theta.to(device))


@dataclass(frozen=True)
class Member:
    """How one network of a stack is trained.

    Attributes:
        seed: of its first weights.
        price: λ, what a unit of weight costs; 0 for no regularisation.
        distance: A, how much dearer a weight is for each unit of wire: its price is λ (1 + A d).
        swaps: whether pairs of units change places in training when that shortens the wires.
        lateral: whether different units may be connected; if not, a unit feeds back to itself alone.
    """

    seed: int = 0
    price: float = 0.0
    distance: float = 0.0
    swaps: bool = False
    lateral: bool = True


@dataclass(frozen=True)
class Growth:
    """What `grow` returns.

    Attributes:
        members: the recipe of each network.
        steps: recorded updates, a list, the last one included.
        history: `RateNetworks` at each of those, on the CPU.
    """

    members: list
    steps: list
    history: list

    @property
    def final(self):
        """The trained `RateNetworks`."""
        return self.history[-1]

    def find(self, recipe):
        """Members (int64 indices) trained like the `Member` `recipe`, whatever their seed."""
        return torch.tensor([i for i, m in enumerate(self.members) if replace(m, seed=recipe.seed) == recipe])


def _price_factor(share):
    """BIMT's schedule: low at first, so that the tasks are learnt, then high, then low, so that the survivors settle."""
    return 1.0 if 0.25 <= share < 0.75 else 0.1


def grow(
    members, place, timing, *, steps, rate=4e-3, batch=96, context=4.0, noise=0.05, every=100, most=30, seed=0, at=(),
    device="cpu", progress=iter,
):  # fmt: skip
    """Train a stack of networks on a mixture of all tasks: all see the same trials.

    Adam, gradient clipped at norm 1 for each network, the rate warms up over 50 steps and falls to 0.3 of itself in the last
    quarter. The penalty is Σ λ (1 + A d) |w| over W, U and V, and Σ λ |b| (d is the length of the wire).

    Args:
        members: list of `Member`.
        place: the `Sheet`.
        timing: a `tasks.Timing`.
        steps: updates.
        rate: Adam's learning rate.
        batch: trials in each step.
        context: how much more often the four context tasks are drawn.
        noise: standard deviation of the noise on every unit's input, in training only.
        every: updates between two rounds of swaps; there is none in the last twentieth.
        most: swaps in one round, at most.
        seed: of trials and noise.
        at: updates after which to record the networks; the last is always recorded.
        device: where to train.
        progress: wrapper for the iterable of legs of updates.

    Returns:
        `Growth`.
    """
    check("members", list(map(str, members)), [str])
    for name, value in (("steps", steps), ("batch", batch), ("every", every), ("most", most)):
        check(name, value, int, low=1)
    check("at", sorted({*at, steps}), [int], low=0, high=steps)
    place = place.to(device)
    stack = random_networks([m.seed for m in members], place.units, timing.inputs, timing.outputs, device)
    column = {name: torch.tensor([float(getattr(m, name)) for m in members], device=device)[:, None]
              for name in ("price", "distance", "lateral")}  # fmt: skip
    moving = torch.tensor([i for i, m in enumerate(members) if m.swaps], dtype=torch.int64, device=device)
    zeros = place.lateral.new_zeros
    lengths = torch.cat([place.lateral.flatten(), place.inputs.flatten(), zeros(place.units), place.outputs.flatten()])
    price = torch.zeros_like(stack.theta)
    price[:, : len(lengths)] = column["price"] * (1 + column["distance"] * lengths)  # the read-out's biases are free
    free = torch.ones_like(stack.theta)
    stack.parts(free)[0].mul_(torch.maximum(column["lateral"][..., None], torch.eye(place.units, device=device)))

    def draw(step):
        """The trials of a step and their noise."""
        own = np.random.SeedSequence((seed, 0 if step is None else step + 1)).generate_state(1)[0]
        rng = torch.Generator().manual_seed(int(own))
        x, y, counts = trials(torch.multinomial(weight, batch, replacement=True, generator=rng), timing, rng).packed()
        shake = noise * torch.randn(len(x), place.units, generator=rng)
        return Packed(x.to(device), y.to(device), counts, shake.to(device))

    def swap(step, problem):
        """Where every parameter comes from after the exchanges of a step."""
        if step % every or not 0 < step <= 0.95 * steps or not len(moving):
            return None
        order = exchange(wires(problem.stack[moving], place), most).order
        where = torch.arange(problem.stack.theta.numel(), device=device).view_as(problem.stack.theta)
        where[moving] = reseat(replace(stack, theta=where[moving]), order).theta
        return where.view(-1)

    weight, at = mixture(context), sorted({*at, steps})
    warm = lambda t: min(1.0, (t + 1) / 50) * (1.0 if t < 0.75 * steps else 0.3)  # noqa: E731
    problem = RateTraining(stack, draw, price, lambda t: _price_factor((t or 0) / steps), free)
    run = train(
        problem, Adam(rate, clip=1.0, schedule=warm), steps, at={*at, *range(0, steps, every)}, permute=swap,
        record=lambda step, now: replace(stack, theta=now.stack.theta.to("cpu", copy=True)) if step in at else None,
        progress=progress,
    )  # fmt: skip
    return Growth(list(members), at, [networks for networks in run.records if networks is not None])


def reseat(stack, order):
    """The same networks, re-seated: slot s holds the unit that sat in slot `order[:, s]` (members, n). Same function."""
    n = stack.units
    W, U, b, V, c = stack.parts()
    rows = order[:, :, None]
    W = W.gather(1, rows.expand(-1, -1, n)).gather(2, order[:, None].expand(-1, n, -1))
    U = U.gather(1, rows.expand(-1, -1, stack.inputs))
    V = V.gather(2, order[:, None].expand(-1, stack.outputs, -1))
    return replace(stack, theta=torch.cat([part.flatten(1) for part in (W, U, b.gather(1, order), V, c)], 1))
