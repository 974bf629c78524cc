"""The paper's method from end to end: a small network on plain numbers, L1, normalizers, retraining, lattice, regression.

The authors train with a price on all weights (L1), apply five normalizers, train again with exact zeros held fixed, and
read the network as trained, after L1 and after retraining; a task counts if one of the three gives a right program. So
here, but for the optimiser: L1 and retraining are done by Levenberg-Marquardt, which needs tens of steps for their 10,000.
"""

from dataclasses import dataclass

import numpy as np

from .normal import normalise
from .regression import regress
from .scoreboard import PUBLISHED
from .tasks import wrong
from .training import Recipe, Shape, learn, polished

AFFINE = (
    "Bitwise_Not", "Sum_All", *(f"Sum_Last{k}" for k in range(2, 8)), "Current_Number", *(f"Prev{k}" for k in range(1, 6)),
    "Diff_Last2", "Bit_Shift_Right", "Parity_Bits_Mod2", "Newton_Freebody", "Newton_Gravity", "Newton_Spring",
    "Newton_Magnetic",
)  # fmt: skip
WIDTH = 16  # neurons in f's hidden layer for the other tasks; the authors' widths are theirs alone
LARGEST = 10  # hidden units of a network that the authors read, at most
PRICES = (1e-3, 1e-4, 1e-5)  # of the sum of all |weights|, the largest that leaves the network without error
READ = ("trained", "L1", "retrained")  # the stages that are read
SEQUENCES = 128  # for L1 and for retraining


def shape(name):
    """The form of the authors' network for a task: their hidden size, g affine."""
    return Shape(PUBLISHED[name].hidden, 0 if name in AFFINE else WIDTH)


def small(task, form, *, seed=0, members=24, chunk=400, chunks=4, attempts=1, pool=8192):
    """A `Trained` network of the paper's kind: plain numbers, loss log(1 + r²)/2 at all positions, one shape."""
    recipe = Recipe(members=members, rate=1e-2, chunk=chunk, chunks=chunks)
    return learn(task, seed=seed, one_hot=False, ladder=((form, recipe),) * attempts, pool=pool)


@dataclass(frozen=True)
class Distilled:
    """A network on the paper's road.

    Attributes:
        stages: the network "trained", after "L1", after each normalizer and "retrained": {name: `Network`}.
        solutions: {name: `Solution`} for the stages that are read.
        right: the same names; whether the program answers all fresh sequences of the task.
        x: the sequences (S, T, d) whose hidden states were read.
    """

    stages: dict
    solutions: dict
    right: dict
    x: np.ndarray

    @property
    def solved(self):
        return any(self.right.values())

    @property
    def program(self):
        """The shortest of the right programs, or None."""
        right = [self.solutions[stage].program for stage, is_right in self.right.items() if is_right]
        return min(right, key=lambda program: len(program.text()), default=None)


def sparse(net, x, y):
    """The network after training with the largest of `PRICES` under which it still answers y to x; else itself."""
    for price in PRICES:
        trial = polished(net, x[:SEQUENCES], y[:SEQUENCES], price=price)
        if not wrong(trial, x, y).any():
            return trial
    return net


def distil(task, net, *, sequences=2000, fresh=20000, seed=0):
    """The whole road for a `Network` on plain numbers.

    The regressions read states and the network's own answers on `sequences` sequences; a program counts if it is right on
    all of `fresh` other sequences of the task. Networks of more than ten hidden units are not read, as with the authors.
    """
    x, y = task.sample(sequences, [seed, 2])
    stages = {"trained": net}
    if net.size <= LARGEST:
        stages["L1"] = sparse(net, x, y)
        stages |= normalise(stages["L1"], x)
        stages["retrained"] = polished(stages["quantised"], x[:SEQUENCES], y[:SEQUENCES], freeze=True)
    read = [name for name in READ if name in stages and net.size <= LARGEST]
    solutions = {k: regress(stages[k].states(x), x, stages[k](x), stages[k].start, seed=seed) for k in read}
    tests = task.sample(fresh, [seed, 3])
    right = {k: s.program is not None and not wrong(s.program, *tests).any() for k, s in solutions.items()}
    return Distilled(stages, solutions, right, x)
