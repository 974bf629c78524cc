"""What can be found with no network: the same search on input-output examples alone.

A program needs to know what to remember. Without a network all that may be remembered is what was seen: the last symbols
and the last answers.
"""

import numpy as np
from jaxtyping import Float, Int

from . import affine
from .expressions import names
from .programs import Program, symbols
from .search import Bank
from .synthesis import ROWS, differs
from .tasks import Task, shifted

STEPS = 3  # how many symbols and answers back


def responses(
    x: Int[np.ndarray, "sequences times inputs"], y: Int[np.ndarray, "sequences times outputs"]
) -> tuple[Float[np.ndarray, "times outputs inputs"], Float[np.ndarray, "times outputs"]]:
    """What `affine.markov` reads from weights, from examples by least squares: M (T, o, d) and o (T, o).

    Args:
        x: sequences (N, T, d); y: answers (N, T, o).
    """
    inputs, outputs, T = x.shape[2], y.shape[2], x.shape[1]
    design = np.concatenate([x[:, ::-1].reshape(len(x), -1), np.ones((len(x), 1))], 1)
    fit = np.linalg.lstsq(design, y[:, -1], rcond=None)[0]
    M = fit[:-1].reshape(T, inputs, outputs).transpose(0, 2, 1)
    past = [sum(x[:, t - k] @ M[k].T for k in range(t + 1)) for t in range(T)]
    return M, np.stack([(y[:, t] - past[t]).mean(0) for t in range(T)])


def affine_program(
    x: Int[np.ndarray, "sequences times inputs"], y: Int[np.ndarray, "sequences times outputs"]
) -> Program | None:
    """The shortest whole-number recurrence that gives the examples, as a `Program`, or None."""
    found = affine.recurrence(*map(np.rint, responses(x, y)))
    program = found and affine.program(*found)
    return program if program and differs(program, x, y) == 0 else None


def formula_program(
    task: Task, x: Int[np.ndarray, "sequences times inputs"], y: Int[np.ndarray, "sequences times outputs"], *, seed: int = 0
) -> Program | None:
    """A formula in the symbols and answers of the last one, two or three steps that gives the examples, or None.

    Args:
        task: gives the symbols; its answers are not used.
        x, y: examples (N, T, inputs), (N, T, outputs).
        seed: of the draw of the rows on which expressions are compared.
    """
    xs, ys = symbols(task.inputs), ("y",) if y.shape[2] == 1 else ("y0", "y1")
    numbers = [k for k in dict.fromkeys([0, 1, 2, task.high, task.high + 1, -task.low]) if k >= 0]
    parts = [(n, part[:, :, i]) for names_, part in ((xs, x), (ys, y)) for i, n in enumerate(names_)]
    bits = {n for n, part in parts if set(np.unique(part)) <= {0, 1}}
    for steps in range(1, STEPS + 1):
        rows = np.random.default_rng(seed).integers(0, len(x), ROWS), steps + np.arange(ROWS) % (x.shape[1] - steps)
        leaf = {n: part[rows] for n, part in parts if n in xs} | {k: k for k in numbers}
        leaf |= {f"{n}_{k}": shifted(part, k)[rows] for k in range(1, steps + 1) for n, part in parts}
        bank, flags = Bank(leaf, ROWS), {n for n in leaf if isinstance(n, str) and n.rpartition("_")[0] in bits}
        found = [bank.find(y[*rows, o], bits=frozenset(bits | flags)) for o in range(len(ys))]
        if None not in found:
            for first in numbers:  # the answer "before the first"
                program = _program(xs, ys, found, steps, first)
                if differs(program, x, y) == 0:
                    return program
    return None


def _program(xs, ys, answers, steps, first):
    """The `Program` that answers with these expressions in x, x_1, …, y_1, …, and remembers what they use."""
    used = set().union(*map(names, answers))
    lines = list(zip(ys, answers, strict=True))
    start = {}
    for name in (*xs, *ys):
        last = max((k for k in range(1, steps + 1) if f"{name}_{k}" in used), default=0)
        start |= {f"{name}_{k}": first if name in ys else 0 for k in range(last, 0, -1)}
        lines += [(f"next_{name}_{k}", f"{name}_{k - 1}" if k > 1 else name) for k in range(last, 0, -1)]
    return Program("formula", xs, start, tuple(lines), ys)


def synthesise(
    task: Task, x: Int[np.ndarray, "sequences times inputs"], y: Int[np.ndarray, "sequences times outputs"], *, seed: int = 0
) -> Program | None:
    """A `Program` that gives all the examples x (N, T, inputs), y (N, T, outputs), found with no network; or None."""
    return affine_program(x, y) or formula_program(task, x, y, seed=seed)
