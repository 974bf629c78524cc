"""Recurrent networks on a sheet where wire has a price, many at once: h_t = relu(W h_{t-1} + U x_t + b), answers V h + c."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...checks import check
from ...kernels.optimisers import Adam
from ...kernels.rate import Packed, RateNetworks, RateTraining
from ...kernels.training import train
from .swaps import exchange, wires
from .tasks import TASKS, Timing, mixture, trials

LATE = 0.75  # share of the updates after which price and rate are low, so that the networks settle


@dataclass(frozen=True)
class Sheet:
    """Where units sit: `side`² hidden units on a grid in the unit square, the two input rings and the output ring above it.

    Attributes:
        lateral: distances |Δx| + |Δy| between slots.
        inputs: from the input channels to the slots.
        outputs: from the slots to the answers.
        place: coordinates of the slots, in the unit square, row by row.
    """

    side: int
    lateral: Float[Tensor, "units units"]
    inputs: Float[Tensor, "units inputs"]
    outputs: Float[Tensor, "outputs units"]
    place: Float[Tensor, "units 2"]

    def to(self, device: str) -> "Sheet":
        """The same sheet on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("lateral", "inputs", "outputs", "place")})

    @property
    def units(self) -> int:
        """Number of hidden units n."""
        return self.side**2


def _ring(count, x, y, radius):
    angle = 2 * torch.pi * torch.arange(count) / count
    return torch.stack([x + radius * angle.cos(), y + radius * angle.sin()], 1)


def sheet(side: int, timing: Timing) -> Sheet:
    """The sheet of `side` by `side` units for these trials; inputs and outputs sit as in the paper's drawing."""
    check("side", side, int, low=2)
    grid = (torch.arange(side) + 0.5) / side
    place = torch.cartesian_prod(grid, grid).flip(1)  # row by row, (x, y)
    rules = torch.stack([(torch.arange(len(TASKS)) + 0.5) / len(TASKS), torch.zeros(len(TASKS))], 1)
    G, centre = timing.directions, torch.tensor([[0.5, 0.5]])
    sources = torch.cat([centre, _ring(G, 0.25, 0.5, 0.2), _ring(G, 0.75, 0.5, 0.2), rules])
    targets = torch.cat([centre, _ring(G, 0.5, 0.5, 0.25)])
    lateral, inputs, outputs = (torch.cdist(a, b, p=1) for a, b in ((place, place), (place, sources), (targets, place)))
    return Sheet(side, lateral, inputs, outputs, place)


def random_networks(seeds: list[int], units: int, inputs: int, outputs: int, device: str = "cpu") -> RateNetworks:
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
class Training:
    """How all networks of a stack are trained: Adam, gradient clipped at norm 1 for each network.

    Attributes:
        steps: updates.
        rate: Adam's learning rate; it warms up over 50 updates (in `grow`) and falls to 0.3 of itself in the last quarter.
        batch: trials in an update.
        context: how much more often than the others the four context tasks are drawn.
        noise: standard deviation of the noise on every unit's input, in training only.
        every: updates between two rounds of exchanges; there is none in the last twentieth.
        most: exchanges in a round, at most.
        seed: of trials and noise.
        device: where to train.
        progress: wrapper for the iterable of legs of updates.
    """

    steps: int
    rate: float = 4e-3
    batch: int = 96
    context: float = 4.0
    noise: float = 0.05
    every: int = 100
    most: int = 30
    seed: int = 0
    device: str = "cpu"
    progress: Callable[[list], Iterable] = iter

    def __post_init__(self):
        for name in ("steps", "batch", "every", "most"):
            check(name, getattr(self, name), int, low=1)


@dataclass(frozen=True)
class Growth:
    """What `grow` and `retrain` return.

    Attributes:
        members: the recipe of each network.
        steps: recorded updates, the last one included.
        history: the networks at each of those, on the CPU.
        seats: which unit sits in each slot at each of those, by the slot where it sat at first.
    """

    members: list[Member]
    steps: list[int]
    history: list[RateNetworks]
    seats: list[Int[Tensor, "members units"]]

    @property
    def final(self) -> RateNetworks:
        """The trained networks."""
        return self.history[-1]

    def only(self, members: Int[Tensor, " kept"]) -> "Growth":
        """These members alone."""
        history, seats = [stack[members] for stack in self.history], [seat[members] for seat in self.seats]
        return Growth([self.members[i] for i in members.tolist()], self.steps, history, seats)

    def find(self, recipe: Member) -> Int[Tensor, " found"]:
        """Members trained like `recipe`, whatever their seed."""
        return torch.tensor([i for i, m in enumerate(self.members) if replace(m, seed=recipe.seed) == recipe])


def _price_factor(share):
    """BIMT's schedule: low at first, so that the tasks are learnt, then high, then low, so that the survivors settle."""
    return 1.0 if 0.25 <= share < LATE else 0.1


def _rate_factor(share):
    return 1.0 if share < LATE else 0.3


def _problem(stack, members, place, timing, training, weight, factor):
    """The `RateTraining` of a stack: tasks drawn as often as `weight` (20,) says, `factor` (of the step) on every price."""
    device = place.lateral.device
    column = {name: torch.tensor([float(getattr(m, name)) for m in members], device=device)[:, None]
              for name in ("price", "distance", "lateral")}  # fmt: skip
    zeros = place.lateral.new_zeros
    lengths = torch.cat([place.lateral.flatten(), place.inputs.flatten(), zeros(place.units), place.outputs.flatten()])
    price = torch.zeros_like(stack.theta)
    price[:, : len(lengths)] = column["price"] * (1 + column["distance"] * lengths)  # the read-out's biases are free
    free = torch.ones_like(stack.theta)
    stack.parts(free)[0].mul_(torch.maximum(column["lateral"][..., None], torch.eye(place.units, device=device)))

    def draw(step):
        """The trials of a step and their noise."""
        own = np.random.SeedSequence((training.seed, 0 if step is None else step + 1)).generate_state(1)[0]
        rng = torch.Generator().manual_seed(int(own))
        tasks = torch.multinomial(weight, training.batch, replacement=True, generator=rng)
        x, y, counts = trials(tasks, timing, rng).packed()
        shake = training.noise * torch.randn(len(x), place.units, generator=rng)
        return Packed(x.to(device), y.to(device), counts, shake.to(device))

    return RateTraining(stack, draw, price, factor, free)


def grow(members: list[Member], place: Sheet, timing: Timing, training: Training, at: Iterable[int] = ()) -> Growth:
    """Train a stack of networks on a mixture of all tasks: all see the same trials.

    The penalty is Σ λ (1 + A d) |w| over W, U and V, and Σ λ |b| (d is the length of the wire), times BIMT's schedule.

    Args:
        members: the recipes.
        place: the sheet.
        timing: of the trials.
        training: how to train.
        at: updates after which to record the networks; the last is always recorded.

    Raises:
        ValueError: if there is no member, or `at` lies outside the training.
    """
    check("members", list(map(str, members)), [str])
    at, steps, every = sorted({*at, training.steps}), training.steps, training.every
    check("at", at, [int], low=0, high=steps)
    place = place.to(training.device)
    stack = random_networks([m.seed for m in members], place.units, timing.inputs, timing.outputs, training.device)
    moving = torch.tensor([i for i, m in enumerate(members) if m.swaps], dtype=torch.int64, device=training.device)
    seats = torch.arange(place.units, device=training.device).repeat(len(members), 1)

    def swap(step, problem):
        """Where every parameter comes from after the exchanges of a step."""
        if step % every or not 0 < step <= 0.95 * steps or not len(moving):
            return None
        order = exchange(wires(problem.stack[moving], place), training.most).order
        seats[moving] = seats[moving].gather(1, order)
        where = torch.arange(problem.stack.theta.numel(), device=training.device).view_as(problem.stack.theta)
        where[moving] = reseat(replace(stack, theta=where[moving]), order).theta
        return where.view(-1)

    def record(step, problem):
        if step not in at:
            return None
        return replace(stack, theta=problem.stack.theta.to("cpu", copy=True)), seats.to("cpu", copy=True)

    weight, factor = mixture(training.context), lambda step: _price_factor((step or 0) / steps)
    run = train(
        _problem(stack, members, place, timing, training, weight, factor),
        Adam(training.rate, clip=1.0, schedule=lambda step: min(1.0, (step + 1) / 50) * _rate_factor(step / steps)), steps,
        at={*at, *range(0, steps, every)}, permute=swap, record=record, progress=training.progress,
    )  # fmt: skip
    history, seated = zip(*[found for found in run.records if found is not None], strict=True)
    return Growth(list(members), at, list(history), list(seated))


def retrain(
    growth: Growth, place: Sheet, timing: Timing, training: Training, *,
    tasks: Iterable[int] = range(len(TASKS)), at: Iterable[int] = (), start: float = LATE, dearer: float = 1.0,
) -> Growth:  # fmt: skip
    """Train the final networks of `growth` on, without exchanges.

    Args:
        growth: whose networks.
        place, timing, training: as in `grow`.
        tasks: that are trained.
        at: updates after which to record the networks; the last is always recorded.
        start: where on the schedules of price and rate these updates begin, as a share; they go on to the schedules' end.
        dearer: factor on all prices.

    Raises:
        ValueError: if a task is unknown, or `at` lies outside the training.
    """
    tasks, at, steps = list(tasks), sorted({*at, training.steps}), training.steps
    check("tasks", tasks, [int], low=0, high=len(TASKS) - 1)
    check("at", at, [int], low=0, high=steps)
    weight = torch.zeros(len(TASKS))
    weight[tasks] = mixture(training.context)[tasks]
    members = [replace(m, price=dearer * m.price) for m in growth.members]
    stack = replace(growth.final, theta=growth.final.theta.to(training.device))

    def share(step):
        return start + (1 - start) * (step or 0) / steps

    def factor(step):
        return _price_factor(share(step))

    run = train(
        _problem(stack, members, place.to(training.device), timing, training, weight, factor),
        Adam(training.rate, clip=1.0, schedule=lambda step: _rate_factor(share(step))), steps,
        at=at, progress=training.progress,
        record=lambda step, problem: replace(stack, theta=problem.stack.theta.to("cpu", copy=True)),
    )  # fmt: skip
    return Growth(members, at, run.records, [growth.seats[-1]] * len(at))


def reseat(stack: RateNetworks, order: Int[Tensor, "members units"]) -> RateNetworks:
    """The same networks, re-seated: slot s holds the unit that sat in slot `order[:, s]`. Same function."""
    n = stack.units
    W, U, b, V, c = stack.parts()
    rows = order[:, :, None]
    W = W.gather(1, rows.expand(-1, -1, n)).gather(2, order[:, None].expand(-1, n, -1))
    U = U.gather(1, rows.expand(-1, -1, stack.inputs))
    V = V.gather(2, order[:, None].expand(-1, stack.outputs, -1))
    return replace(stack, theta=torch.cat([part.flatten(1) for part in (W, U, b.gather(1, order), V, c)], 1))
