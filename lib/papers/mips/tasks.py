"""The benchmark: 62 sequence tasks (the paper's, as its public data generators define them), or one of your own.

Everything before the first element counts as 0. Sequences are integers x (N, T, inputs), answers y (N, T, outputs).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from ...checks import check

PART = 1 << 14  # sequences tried at once, so that they fit the cache


@dataclass(frozen=True)
class Task:
    """A sequence task.

    Attributes:
        name: its name.
        function: answers (N, T) or (N, T, outputs), whole numbers, to x (N, T, inputs), int64.
        low, high: smallest and largest symbol.
        inputs: symbols a step.
        T: steps of a sequence.
        draw: function of (rng, N, T) giving sequences (N, T, inputs); None for independent uniform symbols.
    """

    name: str
    function: Callable
    low: int = 0
    high: int = 1
    inputs: int = 1
    T: int = 10
    draw: Callable | None = None

    def __post_init__(self):
        check("name", self.name, str)
        check("low", self.low, int)
        check("high", self.high, int, low=self.low)
        check("inputs", self.inputs, int, low=1, high=2)
        check("T", self.T, int, low=2, high=100)
        if not callable(self.function):
            raise ValueError(f"function = {self.function!r}: expected a function of sequences")
        y = self(np.full((1, self.T, self.inputs), self.low))
        if y.shape[:2] != (1, self.T):
            raise ValueError(f"function = answers of shape {y.shape} to one sequence: expected (1, {self.T}, outputs)")

    def __call__(self, x: Int[np.ndarray, "sequences times inputs"]) -> Int[np.ndarray, "sequences times outputs"]:
        """Answers (N, T, outputs), int64, to the sequences x (N, T, inputs)."""
        y = np.asarray(self.function(np.asarray(x, np.int64)))
        if y.dtype.kind not in "biuf":
            raise ValueError(f"function = answers such as {y.ravel()[0]!r}: expected whole numbers")
        whole = y.astype(np.int64) if y.dtype.kind in "iub" else np.rint(y).astype(np.int64)
        if y.dtype.kind not in "iub" and not np.array_equal(whole, y):
            raise ValueError("function = answers that are not whole: expected whole numbers")
        return whole.reshape(*y.shape[:2], -1)

    @property
    def outputs(self):
        return self(np.full((1, self.T, self.inputs), self.low)).shape[2]

    @property
    def symbols(self):
        """All symbols (alphabet, inputs), one a row, int64, in lexicographic order."""
        one = np.arange(self.low, self.high + 1)
        return np.stack(np.meshgrid(*[one] * self.inputs, indexing="ij"), -1).reshape(-1, self.inputs)

    def sample(
        self, n: int, seed
    ) -> tuple[Int[np.ndarray, "sequences times inputs"], Int[np.ndarray, "sequences times outputs"]]:
        """`n` sequences x (n, T, inputs) of the task's own distribution and their answers y (n, T, outputs), int64."""
        check("n", n, int, low=1)
        rng = np.random.default_rng(seed)
        x = self.draw(rng, n, self.T) if self.draw else rng.integers(self.low, self.high + 1, (n, self.T, self.inputs))
        return x, self(x)

    def every(self, limit: int = 1 << 20) -> Int[np.ndarray, "sequences times inputs"] | None:
        """All sequences (N, T, inputs) if there are at most `limit` of them, else None. int64."""
        count = len(self.symbols) ** self.T
        if count > limit:
            return None
        axes, every = (len(self.symbols),) * self.T, np.empty((count, self.T, self.inputs), np.int64)
        for t in range(self.T):
            every.reshape(*axes, self.T, -1)[..., t, :] = self.symbols.reshape(-1, *[1] * (self.T - 1 - t), self.inputs)
        return every


def wrong(
    answer: Callable,
    x: Int[np.ndarray, "sequences times inputs"],
    truth: Callable | Int[np.ndarray, "sequences times outputs"],
) -> Bool[np.ndarray, " sequences"]:
    """Sequences x (N, T, inputs) that a function does not answer with the truth throughout, a mask (N,).

    The truth is an array (N, T, outputs), or a function of sequences such as a `Task`; `PART` sequences are tried at a time.
    """
    parts = [slice(i, i + PART) for i in range(0, len(x), PART)]
    right = lambda part: truth(x[part]) if callable(truth) else truth[part]  # noqa: E731
    return np.concatenate([(answer(x[part]) != right(part)).any((1, 2)) for part in parts])


def of_lists(function):
    """`function`, written for one list of symbols (pairs, if there are two a step), as a Task needs it.

    Where it fails or gives another number of answers than there are symbols, a ValueError shows the list.
    """

    def answer(xs):
        try:
            ys = list(function(list(xs)))
        except Exception as error:  # whatever a stranger's function raises
            raise ValueError(f"function = {type(error).__name__} ({error}) for the list {xs}: expected answers") from error
        if len(ys) != len(xs):
            raise ValueError(f"function = {len(ys)} answers to the list {xs}: expected one for each symbol")
        return ys

    def answers(x):
        return np.array([answer(row[:, 0].tolist() if row.shape[1] == 1 else row.tolist()) for row in x])

    return answers


def scan(step, *start):
    """Answers from a step: `step(x_t, *state)` gives (y_t, *new state), all arrays (N,); `start` are the first values."""

    def answers(x):
        state, ys = [np.full(len(x), s) for s in start], []
        for t in range(x.shape[1]):
            y, *state = step(*x[:, t].T, *state)
            ys.append(y)
        return np.stack(ys, 1)

    return answers


def shifted(x: Int[np.ndarray, "sequences times"], k: int) -> Int[np.ndarray, "sequences times"]:
    """x (N, T) k steps later, zeros before."""
    return np.concatenate([np.zeros_like(x[:, :k]), x], 1)[:, : x.shape[1]]


def single(function):
    """A function of x (N, T) as a function of (N, T, 1)."""
    return lambda x: function(x[:, :, 0])


def window(k):
    """Sum of the last k values (N, T)."""
    return single(lambda x: sum(shifted(x, i) for i in range(k)))


def addition(base):
    return scan(lambda p, q, c: ((p + q + c) % base, (p + q + c) // base), 0)


def division(k):
    """Long division by k, most significant bit first."""
    return scan(lambda x, r: ((2 * r + x) // k, (2 * r + x) % k), 0)


def majority(k):
    """The most frequent of 0 … k-1 so far, the smallest of several."""
    return lambda x: (x == np.arange(k)).cumsum(1).argmax(2)


def alternating(k):
    """1 if no two neighbours among the last k bits are equal."""
    return single(lambda x: np.all([shifted(x, i) != shifted(x, i + 1) for i in range(k - 1)], 0).astype(int))


def balanced(x):
    depth = (1 - 2 * x).cumsum(1)
    return (depth == 0) & (np.minimum.accumulate(depth, 1) >= 0)


def palindrome(x):
    return np.stack([(x[:, : t + 1] == x[:, t::-1]).all(1) for t in range(x.shape[1])], 1)


def draw_palindromes(rng, n, T):
    """Random bits (n, T, 1) whose first L, L uniform in 2 … T, form a palindrome."""
    x, length = rng.integers(0, 2, (n, T)), rng.integers(2, T + 1, n)
    mirror = length[:, None] - 1 - np.arange(T)
    return np.where((mirror >= 0) & (mirror < np.arange(T)), np.take_along_axis(x, mirror.clip(0), 1), x)[:, :, None]


def dithering(x):
    q = x.cumsum(1) // 15
    return q - shifted(q, 1)


def newton(force):
    """Positions from accelerations: v grows by `force(x, p, v)`, then p by v."""

    def step(x, p, v):
        v = v + force(x, p, v)
        return p + v, p + v, v

    return scan(step, 0, 0)


def magnetic(x):
    p, v, ys = np.zeros((len(x), 2), int), np.zeros((len(x), 2), int), []
    for t in range(x.shape[1]):
        v = v + x[:, t] + np.stack([-v[:, 1], v[:, 0]], 1)
        p = p + v
        ys.append(p)
    return np.stack(ys, 1)


def _tasks():
    bits, two, large, signed, force = (0, 1), (0, 1, 2), (0, 99), (-100, 99), (-10, 10)
    yield Task("Binary_Addition", addition(2), *two)
    for base in range(3, 8):
        yield Task(f"Base_{base}_Addition", addition(base), 0, base - 1, 2)
    yield Task("Bitwise_Xor", lambda x: x[:, :, 0] ^ x[:, :, 1], *two)
    yield Task("Bitwise_Or", lambda x: x[:, :, 0] | x[:, :, 1], *two)
    yield Task("Bitwise_And", lambda x: x[:, :, 0] & x[:, :, 1], *two)
    yield Task("Bitwise_Not", single(lambda x: 1 - x), *bits)
    for k in (2, 3, 4):
        yield Task(f"Parity_Last{k}", lambda x, k=k: window(k)(x) % 2, *bits)
    yield Task("Parity_All", single(lambda x: x.cumsum(1) % 2), *bits)
    yield Task("Parity_Zeros", single(lambda x: (1 - x).cumsum(1) % 2), *bits)
    yield Task("Evens_Counter", single(lambda x: (1 - x % 2).cumsum(1)), 0, 9)
    yield Task("Sum_All", single(lambda x: x.cumsum(1)), *large)
    for k in range(2, 8):
        yield Task(f"Sum_Last{k}", window(k), *large, T=10 if k < 5 else 20)
    yield Task("Current_Number", single(lambda x: x), *large)
    for k in range(1, 6):
        yield Task(f"Prev{k}", single(lambda x, k=k: shifted(x, k)), *large, T=10 if k < 5 else 20)
    yield Task("Previous_Equals_Current", single(lambda x: x == shifted(x, 1)), 0, 7)
    yield Task("Diff_Last2", single(lambda x: x - shifted(x, 1)), *signed)
    yield Task("Abs_Diff", single(lambda x: abs(x - shifted(x, 1))), *signed)
    yield Task("Abs_Current", single(abs), *signed)
    yield Task("Diff_Abs_Values", single(lambda x: abs(x) - abs(shifted(x, 1))), *signed)
    yield Task("Min_Seen", single(lambda x: np.minimum.accumulate(x, 1)), 0, 9)
    yield Task("Max_Seen", single(lambda x: np.maximum.accumulate(x, 1)), *large)
    for k in (2, 3, 4):
        yield Task(f"Majority_0_{k - 1}", majority(k), 0, k - 1)
    yield Task("Evens_Detector", single(lambda x: 1 - x % 2), 0, 9)
    yield Task("Perfect_Square_Detector", single(lambda x: np.isin(x, [0, 1, 4, 9, 16])), 0, 19)
    yield Task("Bit_Palindrome", single(palindrome), *bits, draw=draw_palindromes)
    yield Task("Balanced_Parenthesis", single(balanced), *bits)
    yield Task("Parity_Bits_Mod2", single(lambda x: np.arange(x.shape[1]) % 2 + 0 * x), *bits)
    yield Task("Alternating_Last3", alternating(3), *bits)
    yield Task("Alternating_Last4", alternating(4), *bits)
    yield Task("Bit_Shift_Right", single(lambda x: shifted(x, 1)), *bits)
    yield Task("Bit_Dot_Prod_Mod2", lambda x: x.prod(2).cumsum(1) % 2, *two)
    for k in (3, 5, 7):
        yield Task(f"Div_{k}", division(k), *bits)
    for k in range(3, 9):
        yield Task(f"Add_Mod_{k}", single(lambda x, k=k: x.cumsum(1) % k), 0, k - 1)
    yield Task("Dithering", single(dithering), 0, 15)
    yield Task("Newton_Freebody", newton(lambda x, p, v: x), *force)
    yield Task("Newton_Gravity", newton(lambda x, p, v: x - 1), *force)
    yield Task("Newton_Spring", newton(lambda x, p, v: x - p), *force)
    yield Task("Newton_Magnetic", magnetic, *force, 2)


def invented(seed):
    """Eight tasks outside the benchmark, with their numbers drawn at random: {name: Task}.

    Sums of a window modulo k, counting one symbol modulo k, borrowing subtraction in a base, the largest of a window, a gap
    between extremes, a flag that one symbol sets and another clears, and two automata with random moves and answers.
    """
    rng = np.random.default_rng(seed)
    k, w, base, symbol, gap = (
        int(v) for v in (rng.integers(3, 7), rng.integers(2, 4), rng.integers(3, 8), rng.integers(0, 4), rng.integers(6, 12))
    )
    borrow = scan(lambda p, q, c: ((p - q - c) % base, (p - q - c < 0).astype(int)), 0)
    flag = scan(lambda x, a: (np.where(x == 2, 1, np.where(x == 0, 0, a)),) * 2, 0)
    spread = lambda x: np.maximum.accumulate(x, 1) - np.minimum.accumulate(x, 1)  # noqa: E731
    tasks = [
        Task("Flag", flag, 0, 2),
        Task(f"Window_{w}_Mod_{k}", single(lambda x: sum(shifted(x, i) for i in range(w)) % k), 0, k - 1),
        Task(f"Count_{symbol}_Mod_{k}", single(lambda x: (x == symbol).cumsum(1) % k), 0, 3),
        Task(f"Base_{base}_Subtraction", borrow, 0, base - 1, 2),
        Task("Max_Last2", single(lambda x: np.maximum(x, shifted(x, 1))), 0, gap),
        Task("Range_Seen", single(spread), 0, 4),
    ]
    for states in (3, 5):
        moves, answers = rng.integers(0, states, (states, 2)), rng.integers(0, 2, (states, 2))
        step = lambda x, s, m=moves, a=answers: (a[s, x], m[s, x])  # noqa: E731
        tasks.append(Task(f"Automaton_{states}", scan(step, 0)))
    return {task.name: task for task in tasks}


TASKS = {task.name: task for task in _tasks()}
