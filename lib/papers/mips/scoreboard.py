"""One protocol for all tasks: train, read the network, then hold program, network and truth against each other."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import beta

from ...checks import check
from .programs import KINDS, run_text
from .synthesis import SEEN, Result, synthesise
from .tasks import TASKS, Task, wrong
from .training import LADDER, Trained, learn

# Task; m if the paper's programs solve it; g if its GPT-4 does; e if what GPT-4 wrote is right on 300 fresh sequences; the
# smallest hidden size that the paper's search found. Inferred from the authors' public programs, tables and transcripts.
_TABLE = """
Binary_Addition m - - 2
Base_3_Addition - - - 2
Base_4_Addition - - - 2
Base_5_Addition - - - 2
Base_6_Addition - g - 2
Base_7_Addition - - - 2
Bitwise_Xor m g e 1
Bitwise_Or m g e 1
Bitwise_And m g - 1
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


@dataclass(frozen=True)
class Published:
    """What is known of the authors' results on one task.

    Attributes:
        mips: whether one of their programs solves it.
        gpt: whether their GPT-4 does, by their own test.
        gpt_right: whether any program that GPT-4 wrote is right on 300 fresh sequences.
        hidden: smallest hidden size that their search found.
    """

    mips: bool
    gpt: bool
    gpt_right: bool
    hidden: int


PUBLISHED = {
    name: Published(m == "m", g == "g", e == "e", int(n)) for name, m, g, e, n in map(str.split, _TABLE.split("\n")[1:-1])
}


@dataclass(frozen=True)
class Comparison:
    """How often two of network, program and truth differ on fresh sequences.

    Attributes:
        differ: sequences on which they differ somewhere.
        tried: sequences.
    """

    differ: int
    tried: int

    @property
    def bound(self):
        """The largest share of differing sequences that this test does not exclude, with 95 % confidence."""
        return float(beta.ppf(0.95, self.differ + 1, self.tried - self.differ)) if self.differ < self.tried else 1.0

    def __str__(self):
        return f"{self.differ} of {self.tried} (share below {self.bound:.2g})"


@dataclass(frozen=True)
class Row:
    """One task on the scoreboard.

    Attributes:
        task: the `Task`.
        trained: the `Trained`: its network.
        result: the `Result`: program, machine and meaning of the variables.
        kind: one of `KINDS`, or "failed" if the program is not right on all fresh sequences.
        program_network, network_truth, program_truth: a `Comparison` each; None without network or program.
        repaired: sequences on which the program is right and the network is not.
        long: sequences of 100 steps on which the program is not right, a `Comparison`; None without a program.
        proved: number of all sequences there are, if the program was right on every one of them; else 0.
    """

    task: Task
    trained: Trained
    result: Result
    kind: str
    program_network: Comparison | None = None
    network_truth: Comparison | None = None
    program_truth: Comparison | None = None
    repaired: int = 0
    long: Comparison | None = None
    proved: int = 0

    @property
    def text(self):
        """The program as Python; empty if there is none."""
        return self.result.program.text() if self.result.program else ""

    @property
    def reason(self):
        """Why the task is not solved; empty if it is."""
        if self.kind != "failed":
            return ""
        if not self.trained.errors:
            return self.result.reason or f"the program differs from the truth on {self.program_truth} sequences"
        told = f"not learned: the network is wrong on {self.trained.errors:.2%} of sequences"
        if self.trained.example:
            x, y = self.trained.example
            said = self.trained.net(x)
            told += f", such as x = {x[0].T.tolist()}, network {said[0].T.tolist()}, truth {y[0].T.tolist()}"
        return told + ("; the program says what the network says" if self.result.program else f"; {self.result.reason}")


def judge(task, trained, result, *, fresh, seed, prove=True):
    """The `Row` of a program: on fresh sequences, on sequences of 100 steps, and on all sequences if there are few.

    Args:
        task: the `Task`, asked for the truth here for the first time since training.
        trained: a `Trained`.
        result: a `Result`.
        fresh: fresh sequences.
        seed: of their draw.
        prove: whether to try all sequences where there are at most 2^20.

    Raises:
        RuntimeError: if the printed text of a program does not run as the program does.
    """
    program, net = result.program, trained.net
    x, y = task.sample(fresh, [seed, 7])
    said = net(x)
    network_truth = Comparison(int((said != y).any((1, 2)).sum()), fresh)
    if program is None:
        return Row(task, trained, result, "failed", network_truth=network_truth)
    answers = program(x)
    if not np.array_equal(run_text(program.text(), x[:100]), answers[:100]):
        raise RuntimeError(f"program = {program.text()}: expected text that runs as the program does")
    off, astray = (answers != y).any((1, 2)), (said != y).any((1, 2))
    far = replace(task, T=100).sample(max(20, fresh // 20), [seed, 8])
    long = Comparison(int(wrong(program, *far).sum()), len(far[0]))
    every = task.every() if prove and not off.any() else None
    proved = len(every) if every is not None and not wrong(program, every, task).any() else 0
    right = not off.any() and (every is None or proved)
    return Row(
        task, trained, result, program.kind if right else "failed",
        program_network=Comparison(int((answers != said).any((1, 2)).sum()), fresh), network_truth=network_truth,
        program_truth=Comparison(int(off.sum()), fresh), repaired=int((astray & ~off).sum()), long=long, proved=proved,
    )  # fmt: skip


def solve(task, *, seed=0, one_hot=True, templates=True, ladder=LADDER, pool=32768, fresh=20000, prove=True):
    """One task from training to verdict.

    Args:
        task: a `Task`, of the benchmark or your own.
        seed: of data and networks.
        one_hot: whether small alphabets are read as one-hot vectors (the paper: never).
        templates: whether the declared templates may be used.
        ladder: shapes and recipes, in order.
        pool: sequences of a training set; the network should be right on as many fresh ones.
        fresh: fresh sequences that the program must get right.
        prove: whether to try all sequences where there are at most 2^20.

    Returns:
        A `Row`.
    """
    check("fresh", fresh, int, low=1)
    trained = learn(task, seed=seed, one_hot=one_hot, ladder=ladder, pool=pool)
    return read(task, trained, seed=seed, templates=templates, fresh=fresh, prove=prove)


def read(task, trained, *, seed=0, templates=True, fresh=20000, prove=True):
    """What the network of a `Trained` says, as a program, and whether it is right: a `Row`. The rest as for `solve`."""
    x, _ = task.sample(SEEN, [seed, 0, 1])
    result = synthesise(trained.net, task, x, templates=templates, seed=seed)
    return judge(task, trained, result, fresh=fresh, seed=seed, prove=prove)


def board(tasks, *, progress: Callable = iter, **settings):
    """The scoreboard: {name: Row} for the tasks named; `settings` as for `solve`."""
    for name in tasks:
        check("tasks", name, set(TASKS))
    return {name: solve(TASKS[name], **settings) for name in progress(list(tasks))}


def count(rows):
    """Tasks of each kind on a board, {kind: number}, "failed" last."""
    return {kind: sum(row.kind == kind for row in rows.values()) for kind in (*KINDS, "failed")}
