"""Networks that learn a task: many small ones at once, from simple shapes to larger ones, the best polished and kept."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...checks import check
from ...kernels.optimisers import Adam
from ...kernels.rnn import Recurrent, Sequences, random_recurrent
from ...kernels.training import train
from .networks import Network, network
from .polishing import polish
from .tasks import wrong

BATCH = 64  # sequences a step
REPEATS = 3  # times that a chunk sees each of its sequences, on average, if there are enough
FEW = 128  # of these that Levenberg-Marquardt takes, and as many of those that the network gets wrong
CLOSE = 0.2  # share of sequences on which the best network may err for training to go on
OFTEN = 8  # times, on average, that a sequence which the network gets wrong is among those it learns from, at most
SOME = 2048  # sequences that tell whether a network is near
NEAR = 0.002  # share of these that such a network gets wrong, at most
LONGER = 4  # times that a further chunk is longer


@dataclass(frozen=True)
class Shape:
    """The form of a network.

    Attributes:
        hidden: hidden units n.
        width: neurons in the hidden layer of f; 0 makes f and g affine.
        deep: whether g has a hidden layer of `width` neurons as well.
    """

    hidden: int
    width: int = 0
    deep: bool = False

    def __post_init__(self):
        check("hidden", self.hidden, int, low=1)
        check("width", self.width, int, low=0)

    def layers(self, inputs, outputs):
        """Layer sizes of f and of g."""
        middle = [self.width] if self.width else []
        return (self.hidden + inputs, *middle, self.hidden), (self.hidden, *(middle if self.deep else []), outputs)


@dataclass(frozen=True)
class Recipe:
    """How networks of one shape are trained.

    Attributes:
        members: networks that start.
        rate: Adam's learning rate, falling linearly to 3 % of it over all chunks.
        chunk: steps between two selections; after each the best 60 % go on.
        chunks: number of chunks.
        hard: whether training starts on sequences of 2, 3 and 5 steps, and up to half of the pool is redrawn, after each
            chunk, from sequences that the best network gets wrong.
        candidates: networks that may be tested after a chunk.
        polishes: times that Levenberg-Marquardt may be applied to each.
        finish: further chunks, at most, for the best network alone while it errs on a share of `CLOSE` or less. Each is
            `LONGER`, up to half of its sequences are such as the network gets wrong, and the rate falls from 50 % to 0.2 %.
    """

    members: int = 24
    rate: float = 5e-3
    chunk: int = 1500
    chunks: int = 1
    hard: bool = False
    candidates: int = 2
    polishes: int = 2
    finish: int = 0

    def __post_init__(self):
        check("members", self.members, int, low=1)
        check("chunk", self.chunk, int, low=1)
        check("chunks", self.chunks, int, low=1)
        check("finish", self.finish, int, low=0)


LADDER = (
    (Shape(8), Recipe(members=8, rate=1e-2, chunk=250, chunks=3)),
    (Shape(2, 8), Recipe(chunk=400, chunks=4)),
    (Shape(4, 16), Recipe(members=16, chunk=500, chunks=3, polishes=1)),
    (Shape(8, 48, deep=True), Recipe(members=8, rate=1e-2, chunk=600, chunks=4, polishes=0, finish=18)),
    (Shape(8, 48), Recipe(members=8, rate=1e-2, chunks=3, hard=True, polishes=0, finish=8)),
)


def small(shape, *, members=24, steps=(3000, 6000)):
    """A ladder for a network of one shape: each attempt starts afresh and takes the steps given."""
    check("steps", list(steps), [int], low=3)
    recipe = Recipe(members=members, rate=1e-2, chunks=3, candidates=3, polishes=0)
    return tuple((shape, replace(recipe, chunk=total // 3)) for total in steps)


@dataclass(frozen=True)
class Units:
    """How symbols and answers are scaled for training.

    Attributes:
        alphabet: (smallest, largest) symbol if symbols go in as one-hot vectors, else None.
        x: number that inputs are divided by.
        y: number that targets are divided by.
    """

    alphabet: tuple | None
    x: float
    y: float

    def tensors(
        self, x: Int[np.ndarray, "sequences times inputs"], y: Int[np.ndarray, "sequences times outputs"]
    ) -> tuple[Float[Tensor, "sequences times in"], Float[Tensor, "sequences times out"]]:
        """Inputs and targets, float32, of the sequences x (N, T, inputs) and answers y (N, T, outputs)."""
        if self.alphabet is None:
            inputs = x / self.x
        else:
            inputs = (x[..., None] == np.arange(self.alphabet[0], self.alphabet[1] + 1)).reshape(*x.shape[:-1], -1)
        return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy((y / self.y).astype(np.float32))

    def network(self, stack: Recurrent, member: int) -> Network:
        """A member of a stack that was trained in these units."""
        return network(stack, member, self.x, self.y, self.alphabet)


def units(task, y, one_hot, shape):
    """One-hot inputs (if `one_hot`, and f has a hidden layer) for 3 to 20 numbers in all, else scaled to at most 1."""
    alphabet, largest = task.high - task.low + 1, max(abs(y).max(), 1)
    hot = one_hot and shape.width and alphabet > 2 and alphabet * task.inputs <= 20
    y_unit = largest / 2 if largest <= 10 and shape.width else largest
    if hot:
        return Units((task.low, task.high), 1.0, float(y_unit))
    return Units(None, float(max(abs(task.low), abs(task.high), 1)), float(y_unit))


def start(task, shape, unit, members, seed):
    """A stack of `members` random networks of a shape for a task."""
    inputs = task.inputs * (task.high - task.low + 1 if unit.alphabet else 1)
    return random_recurrent(members, *shape.layers(inputs, task.outputs), seed=seed)


def untrained(task, shape, *, one_hot=False, seed=0):
    """A `Network` at its random start."""
    check("seed", seed, int, low=0)
    unit = units(task, task.sample(4096, [seed, 0, 1])[1], one_hot, shape)
    return unit.network(start(task, shape, unit, 1, seed), 0)


@dataclass(frozen=True)
class Trained:
    """What `learn` returns.

    Attributes:
        net: a `Network`.
        errors: share of fresh sequences that it does not get entirely right.
        rung: where on the ladder it was found.
        example: one such sequence (1, T, inputs) and the truth (1, T, outputs); None if there is none.
    """

    net: Network
    errors: float
    rung: int = 0
    example: tuple | None = None


def climb(task, shape, recipe, sample, *, one_hot=True, seed=0):
    """Train one rung.

    Args:
        task: the task.
        shape: a `Shape`.
        recipe: a `Recipe`.
        sample: function of k giving fresh sequences (x, y); 0 is the test, k > 0 is for the k-th chunk.
        one_hot: whether small alphabets are read as one-hot vectors.
        seed: of the start.

    Returns:
        The best network and its share of wrong test sequences.
    """
    rng, tests = np.random.default_rng([seed, 1]), sample(0)
    unit = units(task, tests[1], one_hot, shape)
    stack = start(task, shape, unit, recipe.members, seed)
    best, share = None, 2.0
    lengths = [2, 3, 5] * recipe.hard + [task.T] * recipe.chunks
    for chunk, length in enumerate(lengths + [task.T] * recipe.finish):
        further = chunk >= len(lengths)
        steps = recipe.chunk * (LONGER if further else 1)
        begin, end = (0.5, 0.002) if further else (1 - 0.97 * (chunk + k) / len(lengths) for k in (0, 1))
        x, y = sample(chunk + 1)
        hard = chunk and (recipe.hard or further)
        missed = np.flatnonzero(wrong(unit.network(stack, 0), x, y)) if hard else []
        if further and len(missed) > CLOSE * len(x):
            break
        stack = stack.select(torch.tensor([0])) if further else stack
        rows = _lesson(len(x), steps, missed, rng)
        x, y = x[rows], y[rows]
        inputs, targets = unit.tensors(x, y)
        falling = lambda t, a=begin, b=end, steps=steps: a + (b - a) * t / steps  # noqa: E731
        problem = Sequences(stack, inputs[:, :length], targets[:, :length], batch=BATCH, seed=seed + chunk)
        run = train(problem, Adam(recipe.rate, clip=1.0, schedule=falling), steps)
        losses, order = run.losses[-1].sort()
        stack = run.problem.stack.select(order[: max(2, round(0.6 * stack.members))])
        ready = length == task.T and losses[0] < 0.01 * max(float(targets.var()), 0.01)
        for member in range(min(recipe.candidates, stack.members) if ready else 0):
            one = stack.select(torch.tensor([member]))
            net, errors = _tested(one, unit, recipe.polishes, (x, y), tests, rng)
            best, share = (net, errors) if errors < share else (best, share)
            if share == 0:
                return best, share
    last = unit.network(stack, 0)
    errors = _errors(last, *tests)
    return (last, errors) if errors < share else (best, share)


def _lesson(count, steps, missed, rng):
    """Which of `count` sequences a chunk of so many steps learns from: as many as it needs, up to half of them `missed`."""
    rows = np.arange(min(count, steps * BATCH // REPEATS))
    most = min(len(rows) // 2, OFTEN * len(missed))
    if most:
        rows[:most] = rng.choice(missed, most)
    return rows


def _errors(net, x, y):
    """The share of the sequences x that a network does not answer with y; of the first `SOME` if there it is not `NEAR`."""
    share = float(wrong(net, x[:SOME], y[:SOME]).mean())
    return share if share > NEAR else float(wrong(net, x, y).mean())


def _tested(one, unit, polishes, learned, tests, rng):
    """The best of a network as it is and after each polishing, and its share of wrong `tests`.

    `learned` are the sequences (x, y) that it was trained on.
    """
    best, share = None, 2.0
    x, y = learned
    for attempt in range(polishes + 1):
        net = unit.network(one, 0)
        errors = _errors(net, *tests)
        best, share = (net, errors) if errors < share else (best, share)
        if not share or attempt == polishes:
            break
        missed = np.flatnonzero(wrong(net, x, y))
        few = np.concatenate([rng.choice(len(x), FEW), rng.choice(missed, FEW) if len(missed) else missed])
        one = polish(one, *unit.tensors(x[few], y[few]))
    return best, share


def learn(task, *, seed=0, one_hot=True, ladder=LADDER, pool=32768, progress=iter):
    """Climb the ladder until a network makes no error on `pool` fresh sequences.

    Args:
        task: the task.
        seed: of data and starts.
        one_hot: whether small alphabets are read as one-hot vectors.
        ladder: pairs of `Shape` and `Recipe`, in order.
        pool: fresh sequences to be tested on; a chunk learns from as many at most.
        progress: a wrapper for the rungs.

    Returns:
        A `Trained`: the first network with no error, or the best one.
    """
    check("seed", seed, int, low=0)
    check("pool", pool, int, low=512)
    best = None
    for rung, (shape, recipe) in enumerate(progress(ladder)):
        sample = lambda k, rung=rung: task.sample(pool, [seed, rung, k])  # noqa: E731
        net, share = climb(task, shape, recipe, sample, one_hot=one_hot, seed=seed + 1000 * rung)
        if best is None or share < best.errors:
            best = Trained(net, share, rung)
        if share == 0:
            return best
    x, y = task.sample(pool, [seed, best.rung, 0])
    missed = np.flatnonzero(wrong(best.net, x, y))[:1]
    return replace(best, example=(x[missed], y[missed]))


def frames(steps: int, count: int) -> list[int]:
    """The steps, at most `count`, at which a film of a training of `steps` steps is taken: each later by the same factor.

    So that most pictures come while there is something to learn, the first after a fiftieth.
    """
    check("count", count, int, low=2)
    check("steps", steps, int, low=10)
    return sorted({max(1, int(step)) for step in np.geomspace(steps / 50, steps, count)})


def film(task, shape, recipe, at, *, seed=0, pool=8192):
    """One network while it learns with Adam: of `recipe.members` starts the one that ends with the smallest loss.

    Returns:
        [(step, `Network`), …] at the steps `at`, the last of which ends training.
    """
    check("at", list(at), [int], low=1)
    x, y = task.sample(pool, [seed, 0, 1])
    unit = units(task, y, True, shape)
    optimiser = Adam(recipe.rate, clip=1.0, schedule=lambda t: 1 - 0.97 * t / at[-1])
    problem = Sequences(start(task, shape, unit, recipe.members, seed), *unit.tensors(x, y), batch=BATCH, seed=seed)
    run = train(problem, optimiser, at[-1], at=at, record=lambda step, model: (step, model.stack))
    best = int(run.losses[-1].argmin())
    return [(step, unit.network(stack, best)) for step, stack in run.records]
