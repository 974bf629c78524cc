"""Recurrent networks on a sheet where wire has a price, many at once: h_t = relu(W h_{t-1} + U x_t + b), answers V h + c."""

from dataclasses import dataclass, replace

import torch

from ...checks import check
from ...kernels.optimisers import Adam, State
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


@dataclass(frozen=True)
class Networks:
    """A stack of networks.

    Attributes:
        theta: parameters (members, count): W (n, n), U (n, inputs), b (n), V (outputs, n) and c (outputs) in a row.
        units, inputs, outputs: the sizes of one network.
    """

    theta: torch.Tensor
    units: int
    inputs: int
    outputs: int

    def __post_init__(self):
        if self.theta.dim() != 2 or not len(self.theta) or self.theta.shape[1] != sum(s.numel() for s in self.shapes):
            expected = sum(s.numel() for s in self.shapes)
            raise ValueError(f"theta = tensor of shape {tuple(self.theta.shape)}: expected (members, {expected})")

    @property
    def shapes(self):
        """The shapes of W, U, b, V and c."""
        n, i, o = self.units, self.inputs, self.outputs
        return [torch.Size(s) for s in ((n, n), (n, i), (n,), (o, n), (o,))]

    def parts(self, packed=None):
        """Views W, U, b, V, c (members, …) into `packed` (members, count), by default the parameters."""
        packed = self.theta if packed is None else packed
        pieces = packed.split([s.numel() for s in self.shapes], 1)
        return [piece.unflatten(1, s) for piece, s in zip(pieces, self.shapes, strict=True)]

    def __getitem__(self, members):
        """The networks of these members (a slice or int64 indices)."""
        return replace(self, theta=self.theta[members])

    def states(self, x, counts, noise=None, alive=None):
        """Hidden states (members, P, n) on packed trials: x (P, inputs), `counts` rows of each step (see `Trials.packed`).

        They are computed in place, so autograd does not pass; `gradient` has it by hand.

        `noise` (P, n) is added before the rectifier. `alive` (members, n) multiplies the states: zero removes a unit.
        """
        W, U, b, _, _ = self.parts()
        h, start = torch.baddbmm(b[:, None], x.expand(len(b), -1, -1), U.mT), 0
        if noise is not None:
            h += noise
        for before, count in zip([0, *counts], counts, strict=False):
            now = h[:, start : start + count]
            if before:
                now.baddbmm_(h[:, start - before : start - before + count], W.mT)
            now.relu_()
            if alive is not None:
                now *= alive[:, None]
            start += count
        return h

    def __call__(self, x, counts, alive=None):
        """Logits (members, P, outputs) on packed trials."""
        V, c = self.parts()[3:]
        return torch.baddbmm(c[:, None], self.states(x, counts, alive=alive), V.mT)

    def gradient(self, x, y, counts, noise=None):
        """Cross-entropy (members,), a mean over all steps of all trials, and its gradient (members, count), by hand.

        The plain reference is autograd through `loss_plain`; a test holds them together.
        """
        W, _, _, V, c = self.parts()
        h = self.states(x, counts, noise)
        logp = torch.baddbmm(c[:, None], h, V.mT).log_softmax(2)
        rows = torch.arange(len(y), device=y.device)
        loss = -logp[:, rows, y].mean(1)
        error = logp.exp_()
        error[:, rows, y] -= 1
        error /= len(y)
        dz, stop = error @ V, len(y)
        for count, after in zip(counts[::-1], [0, *counts[::-1]], strict=False):
            now = dz[:, stop - count : stop]
            if after:
                now[:, :after].baddbmm_(dz[:, stop : stop + after], W)
            now.mul_(h[:, stop - count : stop] > 0)
            stop -= count
        steps = torch.tensor(counts, device=x.device)
        before = rows[counts[0] :] - torch.repeat_interleave(steps[:-1], steps[1:])  # the row one step earlier
        grad = torch.empty_like(self.theta)
        gW, gU, gb, gV, gc = self.parts(grad)
        gW.copy_(dz[:, counts[0] :].mT @ h[:, before])
        gU.copy_(dz.mT @ x)
        gb.copy_(dz.sum(1))
        gV.copy_(error.mT @ h)
        gc.copy_(error.sum(1))
        return loss, grad


def loss_plain(stack, trials):
    """Cross-entropy (members,) of `Networks` on `Trials`, differentiable: the plain reference of `gradient`."""
    W, U, b, V, c = stack.parts()
    h, total = 0.0, 0.0
    for t in range(trials.x.shape[1]):
        x = trials.x[:, t].to(stack.theta)
        h = torch.relu(torch.einsum("rij,bj->rbi", U, x) + b[:, None] + (torch.einsum("rij,rbj->rbi", W, h) if t else 0.0))
        logp = (torch.einsum("rij,rbj->rbi", V, h) + c[:, None]).log_softmax(2)
        right = logp.gather(2, trials.y[:, t].expand(len(b), -1)[..., None])[..., 0]
        total = total - (right * (t < trials.length)).sum(1)
    return total / trials.length.sum()


def random_networks(seeds, units, inputs, outputs, device="cpu"):
    """Networks before training, one for each of `seeds`: W = I/2, U ~ N(0, 1/inputs), V ~ N(0, 1/units), b = c = 0."""
    check("seeds", list(seeds), [int], low=0)
    count = units * (units + inputs + 1) + outputs * (units + 1)
    stack = Networks(torch.zeros(len(seeds), count), units, inputs, outputs)
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
        history: `Networks` at each of those, on the CPU.
    """

    members: list
    steps: list
    history: list

    @property
    def final(self):
        """The trained `Networks`."""
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
        progress: wrapper for the iterable of updates.

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

    schedule = lambda t: min(1.0, (t + 1) / 50) * (1.0 if t < 0.75 * steps else 0.3)  # noqa: E731
    sizes = torch.full((len(members),), stack.theta.shape[1], device=device)
    state = State(Adam(rate, clip=1.0, schedule=schedule), stack.theta.view(-1), sizes)
    slots = [slot.view_as(stack.theta) for slot in state.slots]
    rng, weight = torch.Generator().manual_seed(seed), mixture(context)
    history = []
    for t in progress(range(steps + 1)):
        if t in {*at, steps}:
            history.append(replace(stack, theta=stack.theta.detach().to("cpu", copy=True)))
        if t == steps:
            break
        task = torch.multinomial(weight, batch, replacement=True, generator=rng)
        x, y, counts = trials(task, timing, rng).packed()
        shake = (noise * torch.randn(len(x), place.units, generator=rng)).to(device)
        grad = stack.gradient(x.to(device), y.to(device), counts, shake)[1]
        grad.addcmul_(price, stack.theta.sign(), value=_price_factor(t / steps)).mul_(free)
        state.step(grad.view(-1))
        if len(moving) and (t + 1) % every == 0 and t + 1 <= 0.95 * steps:
            order = exchange(wires(stack[moving], place), most).order
            for packed in (stack.theta, *slots):
                packed[moving] = reseat(replace(stack, theta=packed[moving]), order).theta
    return Growth(list(members), sorted({*at, steps}), history)


def reseat(stack, order):
    """The same networks, re-seated: slot s holds the unit that sat in slot `order[:, s]` (members, n). Same function."""
    n = stack.units
    W, U, b, V, c = stack.parts()
    rows = order[:, :, None]
    W = W.gather(1, rows.expand(-1, -1, n)).gather(2, order[:, None].expand(-1, n, -1))
    U = U.gather(1, rows.expand(-1, -1, stack.inputs))
    V = V.gather(2, order[:, None].expand(-1, stack.outputs, -1))
    return replace(stack, theta=torch.cat([part.flatten(1) for part in (W, U, b.gather(1, order), V, c)], 1))
