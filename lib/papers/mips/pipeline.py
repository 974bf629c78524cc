"""The paper's method from end to end: a small network on plain numbers, L1, normalizers, retraining, lattice, regression.

The authors train with a price on all weights (L1), apply five normalizers, train again with exact zeros held fixed, and
read the network as trained, after L1 and after retraining; a task counts if one of the three gives a right program. So
here, but for the optimiser: L1 and retraining are done by Levenberg-Marquardt, which needs tens of steps for their 10,000.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from ...checks import check
from . import examples
from .lattice import best_lattice, label, transitions
from .networks import Network
from .normal import normalise
from .polishing import polished
from .regression import regress
from .scoreboard import PUBLISHED, Row, read, solve
from .synthesis import SEEN
from .tasks import TASKS, Task, wrong
from .training import LADDER, Recipe, Shape, Trained, learn

AFFINE = (
    "Bitwise_Not", "Sum_All", *(f"Sum_Last{k}" for k in range(2, 8)), "Current_Number", *(f"Prev{k}" for k in range(1, 6)),
    "Diff_Last2", "Bit_Shift_Right", "Parity_Bits_Mod2", "Newton_Freebody", "Newton_Gravity", "Newton_Spring",
    "Newton_Magnetic",
)  # fmt: skip
WIDTHS = (16, 48, 32)  # neurons in f's hidden layer for the other tasks, at three attempts; the authors' differ by task
LARGEST = 10  # hidden units of a network that the authors read, at most
PRICES = (1e-3, 1e-5)  # of the sum of all |weights|, the largest that leaves the network without error
READ = ("trained", "L1", "retrained")  # the stages that are read
SEQUENCES = 64  # for L1 and for retraining
FORMULAS = ("affine", "formula")  # kinds of programs without a template or a table


def shapes(name):
    """The form of the authors' network for a task, for each attempt: their hidden size, g affine."""
    return [Shape(PUBLISHED[name].hidden, width) for width in ((0, 0) if name in AFFINE else WIDTHS)]


def small(task, forms, *, seed=0, members=24, chunk=400, pool=8192):
    """A `Trained` network of the paper's kind: plain numbers, loss log(1 + r²)/2 at all positions.

    Args:
        task: the `Task`.
        forms: a `Shape` for each attempt. The first is short; the others are four times as long, and the second goes from
            short sequences to hard ones. Where the best network of an attempt comes close, it goes on.
        seed: of data and starts.
        members: networks that start, in each attempt.
        chunk: training steps between two selections, in the first attempt.
        pool: fresh sequences on which a network may make no error; a chunk learns from as many at most.
    """
    first = Recipe(members=members, rate=1e-2, chunk=chunk, chunks=4, finish=12)
    long = replace(first, chunk=4 * chunk, finish=8)
    recipes = (first, replace(long, hard=True, polishes=0), replace(long, candidates=1, polishes=1))
    return learn(task, seed=seed, one_hot=False, ladder=list(zip(forms, recipes, strict=False)), pool=pool)


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
    def plane(self):
        """Whether there is a lattice in a hidden space of two units."""
        return self.stages["trained"].size == 2 and self.solutions["trained"].lattice is not None

    @property
    def lengths(self):
        """Characters of the programs after retraining and as trained, {"after": …, "before": …}; None if one is missing."""
        pair = [self.solutions[stage].program for stage in ("retrained", "trained") if stage in self.solutions]
        return (
            dict(zip(("after", "before"), (len(p.text()) for p in pair), strict=True))
            if len(pair) == 2 and all(pair)
            else None
        )

    @property
    def program(self):
        """The shortest of the right programs, or None."""
        right = [self.solutions[stage].program for stage, is_right in self.right.items() if is_right]
        return min(right, key=lambda program: len(program.text()), default=None)


def explained(net: Network, x: Int[np.ndarray, "sequences times inputs"]) -> float:
    """How much of the place of a network's last hidden states on x a lattice explains: 1 - 12 ⟨(z - round z)²⟩, 0 without.

    Coordinates that fell anywhere would be off whole numbers by 1/12 in mean square.
    """
    moves = transitions(net.states(x), x, net(x))
    found = best_lattice(*moves[:3])
    if found is None:
        return 0.0
    z = found[1].coordinates(moves[2])
    return 1 - 12 * float(((z - np.round(z)) ** 2).mean())


def sparse(
    net: Network, x: Int[np.ndarray, "sequences times inputs"], y: Int[np.ndarray, "sequences times outputs"]
) -> Network:
    """The network after training with the largest of `PRICES` under which it still answers y to x; else itself."""
    for price in PRICES:
        trial = polished(net, x[:SEQUENCES], y[:SEQUENCES], price=price)
        if not wrong(trial, x, y).any():
            return trial
    return net


def distil(task: Task, net: Network, *, sequences: int = 2000, fresh: int = 20000, seed: int = 0) -> Distilled:
    """The whole road for a `Network` on plain numbers.

    The regressions read states and the network's own answers on `sequences` sequences; a program counts if it is right on
    all of `fresh` other sequences of the task. Affine networks are read at every stage, others until a program is right.
    """
    x, y = task.sample(sequences, [seed, 2])
    stages = {"trained": net, "L1": sparse(net, x, y)}
    stages |= normalise(stages["L1"], x)
    stages["retrained"] = polished(stages["quantised"], x[:SEQUENCES], y[:SEQUENCES], freeze=True)
    tests, solutions, right = task.sample(fresh, [seed, 3]), {}, {}
    for name in READ:
        if net.affine or not any(right.values()):
            stage = stages[name]
            solutions[name] = found = regress(stage.states(x), x, stage(x), stage.start, seed=seed)
            right[name] = found.program is not None and not wrong(found.program, *tests).any()
    return Distilled(stages, solutions, right, x)


def contradictions(road: Distilled, x: Int[np.ndarray, "sequences times inputs"]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Keys with more than one value among all keys in the last step of x: (of transitions, keys), (of outputs, keys).

    The table is that of the lattice of the network as trained; without a lattice there are no keys.
    """
    found, net = road.solutions["trained"].lattice, road.stages["trained"]
    return label(found, *transitions(net.states(x), x, net(x))).conflicts() if found else ((0, 1), (0, 1))


@dataclass(frozen=True)
class Study:
    """One task: a network of the paper's kind read on both roads, and the search on examples alone.

    Attributes:
        task: the `Task`.
        small: the `Trained` network on plain numbers, of the authors' hidden size; None beyond ten units.
        road: its `Distilled`; None if it does not solve the task.
        same: the `scoreboard.Row` of reading that very network by behaviour; None if it does not solve the task.
        row: the `Row` of our road: `same` if that is a formula, else from a network of our own ladder.
        alone: whether a program found from examples alone is right on fresh sequences.
    """

    task: Task
    small: Trained | None
    road: Distilled | None
    same: Row | None
    row: Row
    alone: bool

    @property
    def learned(self):
        """Whether some network makes no error."""
        return self.same is not None or self.row.trained.errors == 0

    @property
    def by_lattice(self):
        return self.road is not None and self.road.solved

    @property
    def by_behaviour(self):
        return self.same is not None and self.same.kind in FORMULAS


def study(name, *, seed=0, chunk=400, ladder=LADDER, pool=32768, fresh=20000, sequences=2000):
    """The `Study` of a task of the benchmark.

    Args:
        name: of the task.
        seed: of data and networks.
        chunk: training steps between two selections, of the network on plain numbers.
        ladder: of our road.
        pool: sequences of a training set, and fresh ones that a network must get right.
        fresh: fresh sequences that a program must get right.
        sequences: read on the paper's road.
    """
    check("name", name, set(TASKS))
    task, forms = TASKS[name], shapes(name)
    trained = small(task, forms, seed=seed, chunk=chunk, pool=pool) if forms[0].hidden <= LARGEST else None
    road = same = None
    if trained and not trained.errors:
        road = distil(task, trained.net, sequences=sequences, fresh=fresh, seed=seed)
        same = read(task, trained, seed=seed, fresh=fresh)
    row = same if same and same.kind in FORMULAS else solve(task, seed=seed, ladder=ladder, pool=pool, fresh=fresh)
    program = examples.synthesise(task, *task.sample(min(pool, SEEN), [seed, 0, 1]), seed=seed)
    alone = program is not None and not wrong(program, *task.sample(fresh, [seed, 7])).any()
    return Study(task, trained, road, same, row, alone)
