"""From hidden states to a finite machine: two states are one if the network answers alike on all that may still come.

This is active learning of an automaton with the network as the oracle (Angluin 1987; Weiss, Goldberg and Yahav 2018). A
sequence has T steps, so states reached after d steps need to agree on T - d further answers only: the machine is a cover
automaton (Câmpeanu, Sântean and Yu 2001).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .networks import Network
from .tasks import Task

TOLERANCES = (0.0, 0.01, 0.02, 0.04)


@dataclass(frozen=True)
class Machine:
    """A Mealy machine: reads a symbol, answers, moves. State 0 is the start.

    Attributes:
        symbols: (alphabet, inputs), int64.
        answers: (states, alphabet, outputs), int64.
        moves: (states, alphabet), int64.
        sure: (states, alphabet), whether the next state agrees with the hidden state in all answers that were asked, beyond
            the end of the sequence as well.
        hidden: a hidden state of the network for each state, (states, n).
    """

    symbols: np.ndarray
    answers: np.ndarray
    moves: np.ndarray
    sure: np.ndarray
    hidden: np.ndarray

    def __len__(self):
        return len(self.moves)

    def index(self, x):
        """The symbols x (…, inputs) as rows of `symbols`."""
        low, base = self.symbols[0], self.symbols[-1] - self.symbols[0] + 1
        return np.ravel_multi_index(tuple(np.moveaxis(x - low, -1, 0)), tuple(base))

    def states(self, x: Int[np.ndarray, "sequences times inputs"]) -> Int[np.ndarray, "sequences times"]:
        """States (N, T) before each symbol of x (N, T, inputs)."""
        symbol, state, out = self.index(x), np.zeros(len(x), int), []
        for t in range(x.shape[1]):
            out.append(state)
            state = self.moves[state, symbol[:, t]]
        return np.stack(out, 1)

    def __call__(self, x: Int[np.ndarray, "sequences times inputs"]) -> Int[np.ndarray, "sequences times outputs"]:
        """Answers (N, T, outputs) to x (N, T, inputs)."""
        return self.answers[self.states(x), self.index(x)]


def continuations(net, h, words):
    """Answers (states, words, steps, o), int64, from the hidden states h (S, n) on the words (E, R, inputs)."""
    state, out = np.repeat(h[:, None], len(words), 1), []
    for t in range(words.shape[1]):
        state = net.step(state, np.broadcast_to(words[:, t], (len(h), *words[:, t].shape)))
        out.append(net.read(state))
    return np.rint(np.stack(out, 2)).astype(np.int64)


class Questions:
    """The words that a network's hidden states are asked about, and at which step each answer comes."""

    def __init__(self, net, task, seed):
        """All short words if there are few; else up to 48 symbols, some of them repeated, and up to 24 random long words."""
        symbols, rng, length = task.symbols, np.random.default_rng(seed), min(task.T - 1, 9)
        self.net, self._asked = net, {}
        spread = np.unique(np.linspace(0, len(symbols) - 1, 48).astype(int))
        self.tree = symbols if len(symbols) == 2 else None
        self.length = length
        repeated = symbols[spread[np.linspace(0, len(spread) - 1, min(8, len(spread))).astype(int)]]
        few = 24 if len(symbols) <= 20 else 8
        drawn = symbols[rng.integers(0, len(symbols), (few if len(symbols) > 1 else 0, length))]
        words = np.concatenate([np.repeat(repeated[:, None], length, 1), drawn])
        self.words = [symbols[spread][:, None], words]
        if self.tree is not None:
            self.steps = np.concatenate([np.full(2**t, t) for t in range(1, length + 1)])
        else:
            self.steps = np.concatenate([np.tile(np.arange(1, w.shape[1] + 1), len(w)) for w in self.words])

    def ask(self, h: Float[np.ndarray, "states hidden"]) -> Int[np.ndarray, "states questions outputs"]:
        """Answers (M, questions, outputs), int16, of the network in the hidden states h (M, n); kept for the next time."""
        key, many = h.tobytes(), max(1, 200_000 // len(self.steps))
        if key not in self._asked:
            self._asked[key] = np.concatenate([self._ask(h[i : i + many]) for i in range(0, len(h), many)])
        return self._asked[key]

    def _ask(self, h):
        net, rows = self.net, []
        if self.tree is not None:
            h = h[:, None]
            for _ in range(self.length):
                h = np.stack([net.step(h, np.broadcast_to(s, (*h.shape[:2], len(s)))) for s in self.tree], 2)
                h = h.reshape(len(h), -1, h.shape[-1])
                rows.append(net.read(h))
        else:
            for words in self.words:
                answers = continuations(net, h, words)
                rows.append(answers.reshape(len(h), -1, answers.shape[-1]))
        return np.rint(np.concatenate(rows, 1)).clip(-30000, 30000).astype(np.int16)


def _match(rows, known, tolerance):
    """For each of rows (U, L) the first of known (S, L) that differs in at most that share of the answers, or -1."""
    if not len(known):
        return np.full(len(rows), -1)
    if tolerance == 0:
        first = {}
        for s, row in enumerate(known):
            first.setdefault(row.tobytes(), s)
        return np.array([first.get(row.tobytes(), -1) for row in rows])
    found = np.full(len(rows), -1)
    for u, row in enumerate(rows):
        close = np.flatnonzero((known != row).mean(1) <= tolerance)
        found[u] = close[0] if len(close) else -1
    return found


def merge(questions: Questions, task: Task, tolerance: float = 0.0, *, limit: int = 400) -> Machine | None:
    """Merge the network's hidden states by behaviour, breadth first from its start.

    Args:
        questions: `Questions` to a network.
        task: gives symbols and T; its answers are not used.
        tolerance: share of answers in which two states may differ and still be one.
        limit: give up at more states than this.

    Returns:
        A `Machine`, or None beyond the limit.
    """
    net, symbols = questions.net, task.symbols
    hidden, rows = [net.start], [questions.ask(net.start[None])[0]]
    answers, moves, sure, frontier = [], [], [], [0]
    for depth in range(task.T):
        h = np.repeat(np.stack([hidden[s] for s in frontier]), len(symbols), 0)
        h = net.step(h, np.tile(symbols, (len(frontier), 1)))
        answers.append(np.rint(net.read(h)).astype(int).reshape(len(frontier), len(symbols), -1))
        seen = questions.steps < task.T - depth
        target, full, fresh = np.zeros(len(h), int), np.zeros(len(h), bool), []
        if seen.any():
            asked = questions.ask(h)
            views, first, which = asked[:, seen].reshape(len(h), -1), {}, np.empty(len(h), int)
            for i, view in enumerate(views):
                which[i] = first.setdefault(view.tobytes(), (len(first), i))[0]
            first = [i for _, i in first.values()]
            distinct = views[first]
            known = np.stack(rows)[:, seen].reshape(len(rows), -1)
            place = _match(distinct, known, tolerance)
            for u in range(len(distinct)):
                if place[u] < 0 and tolerance and fresh:
                    new = _match(
                        distinct[u : u + 1], np.stack([rows[s] for s in fresh])[:, seen].reshape(len(fresh), -1), tolerance
                    )
                    place[u] = fresh[new[0]] if new[0] >= 0 else -1
                if place[u] < 0:
                    place[u] = len(rows)
                    fresh.append(len(rows))
                    rows.append(asked[first[u]])
                    hidden.append(h[first[u]])
                    if len(rows) > limit:
                        return None
            target = place[which]
            whole = np.stack(rows).reshape(len(rows), -1)
            full = (asked.reshape(len(h), -1) != whole[target]).mean(1) <= tolerance
        moves.append(target.reshape(len(frontier), -1))
        sure.append(full.reshape(len(frontier), -1))
        frontier = fresh
        if not frontier:
            break
    return Machine(symbols, *(np.concatenate(part) for part in (answers, moves, sure)), np.stack(hidden))


def minimal(machine: Machine) -> Machine:
    """The smallest machine with the same answers (Moore 1956): states are told apart until nothing changes."""
    classes = np.unique(machine.answers.reshape(len(machine), -1), axis=0, return_inverse=True)[1].reshape(-1)
    while True:
        view = np.concatenate([classes[:, None], classes[machine.moves]], 1)
        finer = np.unique(view, axis=0, return_inverse=True)[1].reshape(-1)
        if finer.max() == classes.max():
            break
        classes = finer
    first = np.unique(classes, return_index=True)[1]
    keep = np.sort(first)  # in order of first appearance, so that the start stays state 0
    name = np.searchsorted(keep, first)[classes]
    parts = machine.answers[keep], name[machine.moves[keep]], machine.sure[keep], machine.hidden[keep]
    return Machine(machine.symbols, *parts)


def extract(
    net: Network,
    task: Task,
    x: Int[np.ndarray, "sequences times inputs"],
    answers: Int[np.ndarray, "sequences times outputs"],
    *,
    seed: int = 0,
) -> tuple[Machine | None, float]:
    """Over several tolerances the smallest machine that gives the network's answers; else the one that differs least.

    Args:
        net: a `networks.Network`.
        task: gives symbols and T; its answers are not used.
        seed: of the random questions.
        x: sequences (N, T, inputs).
        answers: what the network says to them, (N, T, o).

    Returns:
        The machine (None if none stays within the limit of `merge`) and the share of its answers that differ.
    """
    best, key, questions = None, (2.0, 0), Questions(net, task, seed)
    for tolerance in TOLERANCES:
        machine = merge(questions, task, tolerance)
        if machine is not None:
            error = float((machine(x) != answers).any(2).mean())
            best, key = min((best, key), (machine, (error, len(machine))), key=lambda pair: pair[1])
    return best, key[0]
