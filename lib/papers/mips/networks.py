"""Recurrent networks that learn a task: many small ones at once, from simple shapes to larger ones, the best one kept."""

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...checks import check
from ...kernels.optimisers import Adam
from ...kernels.rnn import Recurrent, Sequences, random_recurrent
from ...kernels.training import train
from .tasks import Task


@dataclass(frozen=True)
class Shape:
    """One rung of the ladder.

    Attributes:
        hidden: hidden units n.
        width: neurons in the hidden layer of f; 0 makes f and g affine.
        deep: whether g has a hidden layer of `width` neurons as well.
        members: networks that start.
        rate: Adam's learning rate, falling linearly to 3 % of it over all chunks.
        chunk: steps between two selections; after each the best 60 % go on.
        chunks: number of chunks.
        short: whether training starts on sequences of 2, 3 and 5 steps.
        hard: whether half of the pool is redrawn, after each chunk, from sequences that the best network gets wrong.
    """

    hidden: int
    width: int
    deep: bool = True
    members: int = 24
    rate: float = 5e-3
    chunk: int = 1500
    chunks: int = 2
    short: bool = False
    hard: bool = False
    candidates: int = 2
    polishes: int = 2
    iterations: int = 25

    def layers(self, inputs, outputs):
        """Layer sizes of f and of g."""
        middle = [self.width] if self.width else []
        return (self.hidden + inputs, *middle, self.hidden), (self.hidden, *(middle if self.deep else []), outputs)


AFFINE = Shape(8, 0, members=8, rate=1e-2, chunk=1000, chunks=1)
LADDER = (
    Shape(2, 8, deep=False, chunks=1),
    Shape(4, 16, deep=False, members=16, chunks=1, polishes=1),
    Shape(8, 48, members=8, rate=1e-2, polishes=0),
    Shape(8, 48, deep=False, members=8, rate=1e-2, chunks=8, short=True, hard=True, polishes=0),
    Shape(10, 48, members=8, rate=1e-2, chunks=8, short=True, hard=True, polishes=0),
)


@dataclass(frozen=True)
class Coding:
    """How symbols become numbers and back.

    Attributes:
        task: the task.
        hot: whether each symbol is a one-hot vector; otherwise it is one number, divided by the largest.
        unit: size of 1 in the network's output.
    """

    task: Task
    hot: bool
    unit: float

    @property
    def inputs(self):
        return self.task.inputs * (self.task.high - self.task.low + 1) if self.hot else self.task.inputs

    def encode(self, x):
        """Symbols (…, inputs), int64, as float32 (…, d)."""
        if self.hot:
            return (
                (x[..., None] == np.arange(self.task.low, self.task.high + 1)).reshape(*x.shape[:-1], -1).astype(np.float32)
            )
        return (x / max(abs(self.task.low), abs(self.task.high))).astype(np.float32)


def coding(task, y, one_hot, affine):
    """The coding of a task with answers y: one-hot (if `one_hot`) for 3 to 20 numbers in all, else scaled to at most 1."""
    alphabet = task.high - task.low + 1
    hot = one_hot and not affine and alphabet > 2 and alphabet * task.inputs <= 20
    largest = abs(y).max()
    return Coding(task, bool(hot), float((2 if largest <= 10 and not affine else 1) / max(largest, 1)))


@dataclass(frozen=True)
class Net:
    """One trained network with its coding: a machine on whole numbers that can be asked anything.

    Attributes:
        stack: the network, a stack of one.
        coding: how it reads and writes symbols.
        shape: the rung of the ladder it comes from.
    """

    stack: Recurrent
    coding: Coding
    shape: Shape

    @functools.cached_property
    def weights(self):
        """[(W, b), …] of f and of g, float32 arrays."""
        return [[(W[0].numpy().T.copy(), b[0].numpy().copy()) for W, b in layers] for layers in self.stack.layers()]

    @property
    def affine(self):
        return not self.shape.width

    @property
    def start(self):
        """The first hidden state (n,)."""
        return np.zeros(self.shape.hidden, np.float32)

    @staticmethod
    def _mlp(layers, h):
        for depth, (W, b) in enumerate(layers):
            h = (np.maximum(h, 0) if depth else h) @ W + b
        return h

    def step(self, h, x):
        """States after the symbols x (…, inputs) in the states h (…, n)."""
        return self._mlp(self.weights[0], np.concatenate([h, self.coding.encode(x)], -1))

    def read(self, h):
        """Outputs (…, o) in the states h (…, n), float32, in the task's own units."""
        return self._mlp(self.weights[1], h) / self.coding.unit

    def states(self, x):
        """Hidden states (N, T, n) on the sequences x (N, T, inputs)."""
        h, out = np.broadcast_to(self.start, (len(x), self.shape.hidden)), []
        for t in range(x.shape[1]):
            h = self.step(h, x[:, t])
            out.append(h)
        return np.stack(out, 1)

    def __call__(self, x):
        """Rounded outputs (N, T, o), int64, on the sequences x (N, T, inputs)."""
        return np.concatenate(
            [np.rint(self.read(self.states(part))) for part in np.array_split(x, -(-len(x) // 4096))]
        ).astype(int)


@dataclass(frozen=True)
class Lesson:
    """What `learn` returns.

    Attributes:
        net: a `Net`, or None.
        errors: share of wrong sequences among fresh ones.
        rung: where on the ladder it was found.
    """

    net: Net | None
    errors: float
    rung: int


def wrong(net, x, y):
    """Sequences x (N, T, inputs) that the network does not get entirely right, a mask (N,)."""
    return (net(x) != y).any((1, 2))


def polish(stack, x, y, iterations):
    """Levenberg-Marquardt on one network in float64: sequences x (S, T, d), targets y (S, T, o). Returns the network.

    Adam leaves a small network near an exact solution; this goes all the way, since the residuals can be zero. The Jacobian
    is taken by differences: a stack whose members each have one parameter moved.
    """
    x, y, theta, damping, move = x.double(), y.double(), stack.theta.double(), 1e-3, 1e-7

    def residuals(thetas):  # (members, parameters) -> (members, residuals)
        return (replace(stack, theta=thetas.flatten(), members=len(thetas))(x) - y).flatten(1)

    r, moves = residuals(theta[None])[0], move * torch.eye(len(theta), dtype=theta.dtype)
    for _ in range(iterations):
        J = torch.cat([residuals(theta + part) - r for part in moves.split(64)]).T / move
        normal, slope = J.T @ J, J.T @ r
        scale = normal.diagonal().clamp_min(1e-9 * float(normal.diagonal().max()) + 1e-30)
        for _ in range(5):  # raise the damping until the step helps
            trial = theta - torch.linalg.solve_ex(normal + torch.diag(damping * scale), slope)[0]
            left = residuals(trial[None])[0]
            if left.square().sum() < r.square().sum():
                break
            damping *= 10
        else:
            break
        gain = 1 - float(left.square().sum() / r.square().sum())
        theta, r, damping = trial, left, max(damping / 10, 1e-12)
        if gain < 1e-3 or r.square().mean() < 1e-13:
            break
    return replace(stack, theta=theta.float())


def climb(task, shape, sample, *, one_hot=True, seed=0):
    """Train one rung.

    Args:
        task: the task.
        shape: a `Shape`.
        sample: function of k giving fresh sequences (x, y); 0 is the test, k > 0 is for the k-th chunk.
        one_hot: whether small alphabets are read as one-hot vectors.
        seed: of the start.

    Returns:
        The best network and its share of wrong test sequences (1 where none was tested).
    """
    rng, tests, (x, y) = np.random.default_rng([seed, 1]), sample(0), sample(1)
    code = coding(task, y, one_hot, not shape.width)
    stack = random_recurrent(shape.members, *shape.layers(code.inputs, y.shape[2]), seed=seed)
    lengths = [2, 3, 5] * shape.short + [task.T] * shape.chunks
    best, share = None, 1.0
    for chunk, length in enumerate(lengths):
        inputs, targets = (torch.from_numpy(part) for part in (code.encode(x), (y * code.unit).astype(np.float32)))
        falling = lambda t, c=chunk: 1 - 0.97 * (c + t / shape.chunk) / len(lengths)  # noqa: E731
        problem = Sequences(stack, inputs[:, :length], targets[:, :length], batch=96, seed=seed + chunk)
        run = train(problem, Adam(shape.rate, clip=1.0, schedule=falling), shape.chunk)
        losses, order = run.losses[-1].sort()
        stack = run.model.stack.select(order[: max(2, round(0.6 * stack.members))])
        ready = length == task.T and losses[0] < 0.01 * targets.var()
        for member in range(min(shape.candidates, stack.members) if ready else 0):
            net = Net(stack.select(torch.tensor([member])), code, shape)
            for attempt in range(shape.polishes + 1):
                missed = np.flatnonzero(wrong(net, x[:4096], y[:4096]))
                missed = missed if len(missed) else np.flatnonzero(wrong(net, x, y))
                if len(missed) < 0.01 * len(x):
                    errors = wrong(net, *tests).mean()
                    best, share = (net, errors) if errors < share else (best, share)
                    if share == 0:
                        return best, share
                if attempt < shape.polishes:
                    few = np.concatenate([rng.choice(len(x), 256), rng.choice(missed, 256) if len(missed) else missed])
                    net = replace(net, stack=polish(net.stack, inputs[few], targets[few], shape.iterations))
        if shape.hard:
            x, y = sample(chunk + 2)
            missed = np.flatnonzero(wrong(Net(stack.select(torch.tensor([0])), code, shape), x, y))
            if len(missed):
                rows = np.concatenate([np.arange(len(x) // 2), rng.choice(missed, len(x) // 2)])
                x, y = x[rows], y[rows]
    return best, share


def learn(task, *, seed=0, one_hot=True, ladder=(AFFINE, *LADDER), pool=32768, progress=iter):
    """Climb the ladder until a network makes no error on `pool` fresh sequences.

    Args:
        task: the task.
        seed: of data and starts.
        one_hot: whether small alphabets are read as one-hot vectors.
        ladder: shapes in order.
        pool: sequences to learn from, and fresh ones to be tested on.
        progress: a wrapper for the iterable of rungs.

    Returns:
        A `Lesson`: the first network with no error, or the best one if it is wrong on less than 1 % of sequences.
    """
    check("seed", seed, int, low=0)
    check("pool", pool, int, low=512)
    lesson = Lesson(None, 0.01, 0)
    for rung, shape in enumerate(progress(ladder)):
        net, share = climb(
            task, shape, lambda k, r=rung: task.sample(pool, [seed, r, k]), one_hot=one_hot, seed=seed + 1000 * rung
        )
        if share < lesson.errors:
            lesson = Lesson(net, float(share), rung)
        if share == 0:
            break
    return lesson


def film(task, shape, steps, at, *, seed=0, one_hot=True, pool=8192):
    """One network while it learns with Adam: of `shape.members` starts the one that ends with the smallest loss.

    Returns:
        [(step, `Net`), …] at the steps `at`.
    """
    check("steps", steps, int, low=1)
    x, y = task.sample(pool, [seed, 0, 1])
    code = coding(task, y, one_hot, not shape.width)
    stack = random_recurrent(shape.members, *shape.layers(code.inputs, y.shape[2]), seed=seed)
    inputs, targets = torch.from_numpy(code.encode(x)), torch.from_numpy((y * code.unit).astype(np.float32))
    optimiser = Adam(shape.rate, clip=1.0, schedule=lambda t: 1 - 0.97 * t / steps)
    problem = Sequences(stack, inputs, targets, batch=96, seed=seed)
    run = train(problem, optimiser, steps, at=at, record=lambda step, model: (step, model.stack))
    best = run.losses[-1].argmin().reshape(1)
    return [(step, Net(stack.select(best), code, shape)) for step, stack in run.records]
