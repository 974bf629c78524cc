"""One protocol for all tasks: train, extract, and count a program only if it is right on fresh sequences, all of them."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...checks import check
from .programs import KINDS, run_text
from .synthesis import Result, synthesise
from .tasks import TASKS, Task, wrong
from .training import LADDER, Shape, Trained, learn
from .training import untrained as untrained_network

RECORD = Path(__file__).with_name("recorded.json")
# Task; m if the paper's programs solve it; g if its GPT-4 does; e if what GPT-4 wrote is right on 300 fresh sequences; the
# smallest hidden size that the paper's search found. Inferred from the authors' public programs, tables and transcripts.
_PUBLISHED = """
Binary_Addition m - - 2
Base_3_Addition - - - 2
Base_4_Addition - - - 2
Base_5_Addition - - - 2
Base_6_Addition - g - 2
Base_7_Addition - - - 2
Bitwise_Xor m g e 1
Bitwise_Or m g e 1
Bitwise_And m g - 2
Bitwise_Not m g e 1
Parity_Last2 m g - 1
Parity_Last3 m - - 2
Parity_Last4 - - - 3
Parity_All m - - 1
Parity_Zeros m - - 1
Evens_Counter - - - 4
Sum_All m g e 1
Sum_Last2 m - - 2
Sum_Last3 m - - 3
Sum_Last4 m g - 4
Sum_Last5 m g - 5
Sum_Last6 m g - 6
Sum_Last7 m g - 7
Current_Number m g e 1
Prev1 m g - 2
Prev2 m g e 3
Prev3 m g e 4
Prev4 m g e 5
Prev5 m g e 6
Previous_Equals_Current m - - 2
Diff_Last2 m - - 2
Abs_Diff m - - 2
Abs_Current m g e 1
Diff_Abs_Values - g - 2
Min_Seen - g e 1
Max_Seen - g e 1
Majority_0_1 - g - 1
Majority_0_2 - - - 4
Majority_0_3 - - - 21
Evens_Detector - g e 5
Perfect_Square_Detector - - - 48
Bit_Palindrome - g - 18
Balanced_Parenthesis - - - 1
Parity_Bits_Mod2 - g e 1
Alternating_Last3 - - - 2
Alternating_Last4 - g - 2
Bit_Shift_Right m g - 2
Bit_Dot_Prod_Mod2 m - - 1
Div_3 - g - 2
Div_5 - - - 4
Div_7 - - - 4
Add_Mod_3 m g - 1
Add_Mod_4 - - - 2
Add_Mod_5 - - - 3
Add_Mod_6 - - - 4
Add_Mod_7 - - - 4
Add_Mod_8 - - - 67
Dithering - g - 81
Newton_Freebody m - - 2
Newton_Gravity m - - 2
Newton_Spring m - - 2
Newton_Magnetic - - - 4
"""
PUBLISHED = {
    name: (m == "m", g == "g", e == "e", int(n)) for name, m, g, e, n in map(str.split, _PUBLISHED.split("\n")[1:-1])
}


# Small networks of the paper's kind: its hidden sizes for the tasks whose networks are affine
AFFINE = {
    "Bitwise_Not": 1, "Sum_All": 1, **{f"Sum_Last{k}": k for k in range(2, 8)}, "Current_Number": 1,
    **{f"Prev{k}": k + 1 for k in range(1, 6)}, "Diff_Last2": 2, "Bit_Shift_Right": 2, "Parity_Bits_Mod2": 2,
    "Newton_Freebody": 2, "Newton_Gravity": 2, "Newton_Spring": 2, "Newton_Magnetic": 4,
}  # fmt: skip
# Hidden sizes (the paper's, one more for Parity_Last2) and neurons in f's hidden layer (ours) for some of the others
CURVED = {
    "Binary_Addition": (2, 8), "Parity_Last2": (2, 8), "Parity_Last3": (2, 16), "Parity_Last4": (3, 24),
    "Add_Mod_3": (1, 48), "Abs_Current": (1, 16), "Abs_Diff": (2, 16), "Max_Seen": (1, 8), "Balanced_Parenthesis": (1, 24),
    "Majority_0_1": (1, 16), "Previous_Equals_Current": (2, 16), "Base_3_Addition": (2, 16),
}  # fmt: skip
SMALL = {name: Shape(hidden) for name, hidden in AFFINE.items()} | {name: Shape(*pair) for name, pair in CURVED.items()}


@dataclass(frozen=True)
class Row:
    """One task on the scoreboard.

    Attributes:
        task: the `Task`.
        trained: the `Trained`: its network.
        result: the `Result`: program, machine and meaning of the variables.
        kind: "affine", "formula", "template", "table", or "failed" if the program misses anything.
        errors: fresh sequences (of `fresh`) on which the program is wrong; -1 without a program.
        fresh: fresh sequences it was tried on.
        long: sequences of 100 steps (of `fresh` / 20) on which it is wrong; -1 without a program.
        proved: number of all sequences there are, if it was right on every one of them; else 0.
    """

    task: Task
    trained: Trained
    result: Result
    kind: str
    errors: int
    fresh: int
    long: int
    proved: int

    @property
    def text(self):
        """The program as Python; empty if there is none."""
        return self.result.program.text() if self.result.program else ""


def judge(task, trained, result, *, fresh, seed, prove=True):
    """The `Row` of a program: on fresh sequences, on sequences of 100 steps, and on all sequences if there are few."""
    program = result.program
    if program is None:
        return Row(task, trained, result, "failed", -1, fresh, -1, 0)
    x, y = task.sample(fresh, [seed, 7])
    errors = int(wrong(program, x, y).sum())
    same = np.array_equal(run_text(program.text(), x[:100]), program(x[:100]))  # the printed text is the program
    long = int(wrong(program, *replace(task, T=100).sample(max(20, fresh // 20), [seed, 8])).sum())
    every = task.every() if prove and errors == 0 else None
    proved = len(every) if every is not None and not wrong(program, every, task(every)).any() else 0
    right = errors == 0 and same and (every is None or proved)
    return Row(task, trained, result, program.kind if right else "failed", errors, fresh, long, proved)


def solve(task, *, seed=0, one_hot=True, templates=True, ladder=LADDER, pool=32768, fresh=20000, prove=True):
    """One task from training to verdict.

    Args:
        task: a `Task`, of the benchmark or your own.
        seed: of data and networks.
        one_hot: whether small alphabets are read as one-hot vectors (the paper: never).
        templates: whether the declared templates may be used.
        ladder: network shapes, in order.
        pool: sequences of a training set; the network must be right on as many fresh ones.
        fresh: fresh sequences that the program must get right.
        prove: whether to try all sequences where there are at most 2^20.

    Returns:
        A `Row`.
    """
    check("fresh", fresh, int, low=1)
    trained = learn(task, seed=seed, one_hot=one_hot, ladder=ladder, pool=pool)
    data = task.sample(min(pool, 16384), [seed, 0, 1])
    result = synthesise(trained.net, task, *data, templates=templates, seed=seed) if trained.net else Result(None, None, {})
    return judge(task, trained, result, fresh=fresh, seed=seed, prove=prove)


def untrained(task, *, seed=0, fresh=1000):
    """The same road from a network that has learned nothing: a `Row`."""
    net = untrained_network(task, LADDER[2][0], one_hot=True, seed=seed)
    result = synthesise(net, task, *task.sample(4096, [seed, 0, 1]), seed=seed)
    return judge(task, Trained(net, 1.0, 0), result, fresh=fresh, seed=seed, prove=False)


def board(tasks, *, progress=iter, **settings):
    """The scoreboard: {name: Row} for the tasks named; `settings` as for `solve`."""
    for name in tasks:
        check("tasks", name, set(TASKS))
    return {name: solve(TASKS[name], **settings) for name in progress(list(tasks))}


def count(rows):
    """Tasks of each kind on a board, {kind: number}, "failed" last."""
    return {kind: sum(row.kind == kind for row in rows.values()) for kind in (*KINDS, "failed")}


def recorded():
    """Boards recorded earlier by `python -m lib.papers.mips`: {seed: {task: {kind, program, errors, hidden}}}."""
    boards = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return {int(seed): rows for seed, rows in boards.items()}
