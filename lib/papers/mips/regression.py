"""From tables of whole numbers to a program: the last steps of MIPS (Michaud et al., arXiv:2402.05110).

Three regressions, tried in the authors' order, the first program that is right on all given sequences wins: linear (least
squares, rounded), Boolean (clusters of hidden states become bits, the permutation with the shortest text wins) and integer
(all expressions of up to six symbols). A `Program` holds expressions as Python text and is run by `evaluate`, an interpreter
that knows whole numbers and nothing else.
"""

import ast
import operator
from dataclasses import dataclass, replace
from itertools import permutations, product
from string import ascii_lowercase

import numpy as np
from sklearn.cluster import KMeans

from ...checks import check
from .lattice import Table, best_lattice, label, transitions
from .normal import normalise

# --- programs

BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Mod: operator.mod,
    ast.BitXor: operator.xor, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}  # fmt: skip
COMPARE = {ast.Gt: operator.gt, ast.Lt: operator.lt, ast.Eq: operator.eq}


def evaluate(text, values):
    """The value of an expression on whole numbers or int64 arrays.

    Args:
        text: names, whole constants, + - * % ^ & |, one comparison > < == or `in (…)`, abs(…) and int(…); nothing else.
        values: dict of name to whole number or array.

    Raises:
        ValueError: for anything else, before any of it is run.
    """

    def value(node):
        match node:
            case ast.Constant(value=int()) if not isinstance(node.value, bool):
                return node.value
            case ast.Name() if node.id in values:
                return values[node.id]
            case ast.UnaryOp(op=ast.USub()):
                return -value(node.operand)
            case ast.BinOp() if type(node.op) in BINARY:
                return BINARY[type(node.op)](value(node.left), value(node.right))
            case ast.Compare(ops=[op], comparators=[right]) if type(op) in COMPARE:
                return np.multiply(COMPARE[type(op)](value(node.left), value(right)), 1)
            case ast.Compare(ops=[ast.In()], comparators=[ast.Tuple()]):
                left = value(node.left)
                return np.multiply(sum(np.equal(left, value(item)) for item in node.comparators[0].elts), 1)
            case ast.Call(func=ast.Name(id="abs" | "int"), args=[arg], keywords=[]):
                return abs(value(arg)) if node.func.id == "abs" else value(arg)
        raise ValueError(f"text = {text!r}: expected whole numbers, arithmetic and the names {sorted(values)}")

    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"text = {text!r}: expected an expression ({error.msg})") from error
    return value(tree.body)


@dataclass(frozen=True)
class Program:
    """A loop over a sequence: read the inputs, update all state variables at once, write outputs from the new values.

    Attributes:
        start: first values of the state variables a, b, c, …, whole numbers.
        updates: one expression for each, in the state variables and the inputs x (or x0, x1, …).
        outputs: expressions in the state variables.
        inputs: numbers read at each step.
    """

    start: tuple
    updates: tuple
    outputs: tuple
    inputs: int = 1

    @property
    def states(self):
        return tuple(ascii_lowercase[: len(self.start)])

    @property
    def names(self):
        return names(self.inputs)

    @property
    def text(self):
        """The program as a Python function of a list, of numbers or of tuples if there are several a step."""
        outputs = self.outputs[0] if len(self.outputs) == 1 else f"({', '.join(self.outputs)})"
        lines = ["def f(xs):", f"    {', '.join(self.states)} = {', '.join(map(str, self.start))}", "    ys = []",
                 f"    for {', '.join(self.names)} in xs:", f"        {', '.join(self.states)} = {', '.join(self.updates)}",
                 f"        ys.append({outputs})", "    return ys"]  # fmt: skip
        return "\n".join(lines) + "\n"

    def run(self, x):
        """State variables (S, T, k) and outputs (S, T, o) after each step, int64, on the whole numbers x (S, T, d)."""
        x = np.asarray(x).astype(np.int64)
        values = {name: np.full(len(x), start) for name, start in zip(self.states, self.start, strict=True)}
        states, written = [], []
        for t in range(x.shape[1]):
            given = values | dict(zip(self.names, x[:, t].T, strict=True))
            new = [np.broadcast_to(evaluate(text, given), len(x)) for text in self.updates]
            values = dict(zip(self.states, new, strict=True))
            states.append(np.stack(new, 1))
            written.append(np.stack([np.broadcast_to(evaluate(text, values), len(x)) for text in self.outputs], 1))
        return np.stack(states, 1), np.stack(written, 1)

    def __call__(self, x):
        """Outputs (S, T, o) int64 on the sequences x (S, T, d)."""
        return self.run(x)[1]

    def wrong(self, x, y):
        """How many of the sequences x (S, T, d) it does not answer by y (S, T, o) throughout."""
        return int((self(x) != np.asarray(y)).any((1, 2)).sum())


def names(inputs):
    """What programs call the numbers read at a step: x, or x0, x1, …."""
    return ("x",) if inputs == 1 else tuple(f"x{i}" for i in range(inputs))


def _sum(coefficients, variables, constant):
    """Text of a linear expression with whole coefficients."""
    text = ""
    for k, name in [*zip(coefficients, variables, strict=True), (constant, "")]:
        if k:
            size = str(abs(k)) if not name else name if abs(k) == 1 else f"{abs(k)} * {name}"
            text += (f" {'-' if k < 0 else '+'} " if text else "-" if k < 0 else "") + size
    return text or "0"


# --- linear


def linear_program(table, start):
    """Least squares for (z, x) -> z' and z' -> y, all coefficients rounded.

    Codes count from the first one, `start` (n,), so that the program's variables begin at 0.
    """

    def fit(given, wanted, variables):
        design = np.concatenate([given, np.ones((len(given), 1))], 1)
        whole = np.round(np.linalg.lstsq(design, wanted, rcond=None)[0]).astype(np.int64).T
        return tuple(_sum(row[:-1].tolist(), variables, int(row[-1])) for row in whole)

    states, read = tuple(ascii_lowercase[: table.current.shape[1]]), names(table.inputs.shape[1])
    before, after = np.concatenate([table.previous - start, table.inputs], 1), table.current - start
    return Program((0,) * len(states), fit(before, after, (*states, *read)), fit(after, table.outputs, states), len(read))


def affine_program(net):
    """The program that an affine `Network` in whole numbers is, its entries rounded: in observer form, at once."""
    W, U, b, V, c = (np.round(part).astype(np.int64).tolist() for part in net.weights())
    states, read = tuple(ascii_lowercase[: net.size]), names(len(U[0]))
    updates = tuple(_sum(w + u, (*states, *read), k) for w, u, k in zip(W, U, b, strict=True))
    outputs = tuple(_sum(v, states, k) for v, k in zip(V, c, strict=True))
    return Program(tuple(np.round(net.start).astype(int).tolist()), updates, outputs, len(read))


# --- Boolean


def boolean_text(truth, variables):
    """The shorter text of a Boolean function: disjunctive normal form, or, if symmetric, a chain of ^ or a test of the sum.

    Args:
        truth: values 0 or 1 for all 2^k settings; variable i is bit i of the index.
        variables: k names.
    """
    truth = np.asarray(truth)
    index = np.arange(len(truth))
    used = [i for i in range(len(variables)) if (truth != truth[index ^ (1 << i)]).any()]
    if not used:
        return str(int(truth[0]))
    index = np.arange(1 << len(used))
    small = truth[sum(((index >> j) & 1) << i for j, i in enumerate(used))]
    named = [variables[i] for i in used]
    terms = [" & ".join(v if (i >> j) & 1 else f"(1 - {v})" for j, v in enumerate(named)) for i in index[small == 1]]
    texts = [" | ".join(terms)]
    ones = sum((index >> j) & 1 for j in range(len(used)))
    by_sum = [set(small[ones == k].tolist()) for k in range(len(used) + 1)]
    if all(len(values) == 1 for values in by_sum):
        true = [k for k, values in enumerate(by_sum) if values == {1}]
        total = " + ".join(named)
        if true == list(range(1, len(used) + 1, 2)):
            texts.append(" ^ ".join(named))
        if true == list(range(true[0], len(used) + 1)):
            texts.append(f"int({total} > {true[0] - 1})")
        if true == list(range(len(true))):
            texts.append(f"int({total} < {len(true)})")
        texts.append(f"int({total} in {tuple(true)})")
    return min(texts, key=len)


def _codings(clusters):
    """All ways (ways, clusters) to name 2^b clusters by b bits, up to the order of the bits."""
    bits = clusters.bit_length() - 1
    perms = np.array(list(permutations(range(clusters))))
    moved = [sum(((perms >> i) & 1) << j for i, j in enumerate(order)) for order in permutations(range(bits))]
    numbers = np.stack([m @ clusters ** np.arange(clusters)[::-1] for m in moved])
    return perms[numbers[0] == numbers.min(0)]


def boolean_program(previous, inputs, current, outputs, start, bits, *, seed=0):
    """Clusters of hidden states as bits: the shortest program of all codings of 2^bits clusters.

    K-means with ten starts finds the clusters (the authors use spectral clustering). If one cluster and one input lead to
    two clusters, or one cluster has two outputs, there is no program. Settings never seen get 0.

    Args:
        previous, inputs, current, outputs: rows as `lattice.transitions` gives them, all inputs and outputs 0 or 1.
        start: the first hidden state (n,); its nearest cluster is the first state.
        bits: b ≤ 3.
        seed: of the clustering.

    Returns:
        A `Program`, or None.
    """
    check("bits", bits, int, low=1, high=3)
    count, reads = 1 << bits, inputs.shape[1]
    h = np.concatenate([current, previous])
    if len(np.unique(h.round(6), axis=0)) < count:
        return None
    means = KMeans(count, n_init=10, random_state=seed).fit(h)
    before, after = means.predict(previous), means.predict(current)
    symbol = inputs.astype(int) @ (1 << np.arange(reads))
    rows, values = np.unique(np.stack([before, symbol, after], 1), axis=0), np.unique(
        np.concatenate([after[:, None], outputs.astype(int)], 1), axis=0)  # fmt: skip
    if len(np.unique(rows[:, :2], axis=0)) < len(rows) or len(np.unique(values[:, 0])) < len(values):
        return None
    code = _codings(count)  # (ways, clusters)
    ways = np.arange(len(code))[:, None]
    truth = np.zeros((len(code), bits, count << reads), np.int8)
    for i in range(bits):
        truth[ways, i, code[:, rows[:, 0]] | rows[:, 1] << bits] = code[:, rows[:, 2]] >> i & 1
    shown = np.zeros((len(code), outputs.shape[1], count), np.int8)
    for i in range(outputs.shape[1]):
        shown[ways, i, code[:, values[:, 0]]] = values[:, 1 + i]
    states = tuple(ascii_lowercase[:bits])
    texts = []
    for functions, variables in ((truth, (*states, *names(reads))), (shown, states)):
        unique, where = np.unique(functions.reshape(-1, functions.shape[2]), axis=0, return_inverse=True)
        texts.append(
            np.array([boolean_text(f, variables) for f in unique], dtype=object)[where.reshape(functions.shape[:2])]
        )
    lengths = sum(np.vectorize(len)(part).sum(1) for part in texts)
    best = lengths.argmin()
    first = code[best, np.linalg.norm(means.cluster_centers_ - start, axis=1).argmin()]
    return Program(tuple(int(first >> i & 1) for i in range(bits)), tuple(texts[0][best]), tuple(texts[1][best]), reads)


# --- integer

UNARY = {
    "({} + 1)": lambda a: a + 1, "({} - 1)": lambda a: a - 1, "(-{})": lambda a: -a, "int({} > 0)": lambda a: 1 * (a > 0),
    "int({} == 0)": lambda a: 1 * (a == 0), "abs({})": abs, "({} + 100)": lambda a: a + 100, "({} - 100)": lambda a: a - 100,
}  # fmt: skip
PAIRS = {"({} + {})": operator.add, "({} - {})": operator.sub, "({} * {})": operator.mul, "({} % {})": operator.mod}
SYMBOLS = 6  # of an expression, each leaf and each operation one
ROWS = 25  # of the table that an expression is held against
CHUNK = 4_000_000  # numbers evaluated at once


def _new(values, known):
    """Indices of the rows of `values` (E, R) not in the set `known`, first occurrences; `known` takes them up."""
    keys = np.ascontiguousarray(values).view(np.dtype((np.void, values.dtype.itemsize * values.shape[1]))).ravel()
    fresh = []
    for i in np.unique(keys, return_index=True)[1]:
        key = keys[i].tobytes()
        if key not in known:
            known.add(key)
            fresh.append(i)
    return np.sort(np.array(fresh, dtype=int))


def integer_expressions(given, wanted, variables):
    """For every wanted column the shortest expression in the given columns, of up to six symbols.

    Leaves are the variables and 3 and 4; operations +1, -1, negation, > 0, == 0, abs, +100, -100 and + - * % (left out where
    a divisor is 0). All 38 shapes of postfix expressions, shortest first; of expressions with the same values on all
    rows only the first is kept, which loses none.

    Args:
        given: (R, v) whole numbers; wanted: (R, k); variables: v names.

    Returns:
        A list of k texts, None where there is no such expression.
    """
    given, wanted = np.asarray(given, dtype=np.int64), np.asarray(wanted, dtype=np.int64)
    found, known, bank = [None] * wanted.shape[1], set(), {}

    def take(values, text):
        """Note which wanted columns the rows of `values` answer; text(i) is the i-th expression."""
        for k, column in enumerate(wanted.T):
            if found[k] is None and (hits := np.flatnonzero((values == column).all(1))).size:
                found[k] = text(hits[0])

    for length in range(1, SYMBOLS + 1):
        values, texts = [], []

        def level(block, text, values=values, texts=texts, last=length == SYMBOLS):
            take(block, text)
            if not last:
                fresh = _new(block, known)
                values.append(block[fresh])
                texts.extend(text(i) for i in fresh)

        if length == 1:
            level(np.concatenate([given.T, np.full((2, len(given)), [[3], [4]])]), [*variables, "3", "4"].__getitem__)
        else:
            below, words = bank[length - 1]
            for form, f in UNARY.items():
                level(f(below), lambda i, form=form, words=words: form.format(words[i]))
            for left in range(1, length - 1):
                (A, first), (B, second) = bank[left], bank[length - 1 - left]
                size = max(1, CHUNK // max(1, B.size))
                for form, f in PAIRS.items():
                    use = np.flatnonzero((B != 0).all(1)) if "%" in form else np.arange(len(B))
                    for at in range(0, len(A) if len(use) else 0, size):
                        block = f(A[at : at + size, None], B[None, use]).reshape(-1, len(given))
                        level(block, lambda i, at=at, form=form, first=first, second=second, use=use:
                              form.format(first[at + i // len(use)], second[use[i % len(use)]]))  # fmt: skip
        if all(found):
            break
        bank[length] = (np.concatenate(values), texts) if values else (np.zeros((0, len(given)), np.int64), [])
    return [text[1:-1] if text and text[0] == "(" and _closes(text) else text for text in found]


def _closes(text):
    """Whether the bracket that opens a text closes at its end."""
    depth = np.cumsum([(c == "(") - (c == ")") for c in text])
    return (depth[:-1] > 0).all()


def _first_rows(keys, values):
    """The first distinct rows of `keys`, at most `ROWS`, each with the values it has most often."""
    pairs, counts = np.unique(np.concatenate([keys, values], 1), axis=0, return_counts=True)
    often = pairs[np.argsort(-counts, kind="stable")]
    some = keys[np.sort(np.unique(keys, axis=0, return_index=True)[1])[:ROWS]]
    width = keys.shape[1]
    return some, np.stack([often[(often[:, :width] == key).all(1)][0, width:] for key in some])


def integer_program(table, start):
    """Expressions for (z, x) -> z' and z' -> y on the table's first 25 distinct rows; a `Program`, or None."""
    states, read = tuple(ascii_lowercase[: table.current.shape[1]]), names(table.inputs.shape[1])
    outputs = integer_expressions(*_first_rows(table.current, table.outputs), states)
    if not all(outputs):
        return None
    before = np.concatenate([table.previous, table.inputs], 1)
    updates = integer_expressions(*_first_rows(before, table.current), (*states, *read))
    return Program(tuple(map(int, start)), tuple(updates), tuple(outputs), len(read)) if all(updates) else None


# --- the whole road


@dataclass(frozen=True)
class Solution:
    """What `solve` found.

    Attributes:
        method: "linear", "Boolean" or "integer"; None if no program was right.
        program: the `Program`, or None.
        finder: which finder's lattice, "linear" or "GCD"; None without a lattice.
        lattice, table: the `Lattice` and its `Table`, or None.
    """

    method: str | None
    program: Program | None
    finder: str | None
    lattice: object
    table: Table | None


def solve(hidden, inputs, outputs, start=None, *, seed=0):
    """From hidden states to a program, as the paper does it.

    Args:
        hidden: hidden states h_1 … h_T, (S, T, n).
        inputs: whole numbers (S, T, d).
        outputs: the network's outputs (S, T, o), rounded here.
        start: h_0 (n,); None for zeros.
        seed: of the finders' draws.

    Returns:
        A `Solution`; its program, if any, is right on all the given sequences.
    """
    hidden, whole = np.asarray(hidden, dtype=np.float64), np.asarray(inputs).astype(np.int64)
    wanted = np.round(np.asarray(outputs)).astype(np.int64)
    rows = transitions(hidden, inputs, outputs)
    n, start = hidden.shape[2], np.zeros(hidden.shape[2]) if start is None else np.asarray(start)
    finder, lattice = best_lattice(*rows[:3], seed=seed) or (None, None)
    table = lattice and label(lattice, *rows)
    first = [f(lattice.coordinates(start)).astype(int) for f in (np.round, np.floor, np.ceil)] if lattice else []

    def candidates():
        if lattice:
            yield from (("linear", linear_program(table, z)) for z in first)
        if set(np.unique(whole)) <= {0, 1} and set(np.unique(wanted)) <= {0, 1}:
            some = [part[:1000] for part in rows]
            yield from (("Boolean", boolean_program(*some, start, bits, seed=seed)) for bits in (n, n + 1) if bits <= 3)
        if lattice and n <= 2 and n + whole.shape[2] <= 6:
            top = table.current.max(0)
            for signs in product((False, True), repeat=n):
                turned = integer_program(table.mirrored(signs), first[0])
                if turned:
                    starts = np.unique([np.where(signs, top - z, z) for z in first], axis=0)
                    yield from (("integer", replace(turned, start=tuple(z.tolist()))) for z in starts)

    for method, program in candidates():
        if program is not None and not program.wrong(whole, wanted):
            return Solution(method, program, finder, lattice, table)
    return Solution(None, None, finder, lattice, table)


@dataclass(frozen=True)
class Road:
    """A network on the paper's road, as trained and after the normalizers.

    Attributes:
        stages: the network after each normalizer, dict of name to `Network`.
        solutions: dict of "trained" and "quantised" to `Solution`.
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
        """The shorter of the right programs, or None."""
        return min((self.solutions[k].program for k in self.right if self.right[k]), key=lambda p: len(p.text), default=None)


def road(task, net, *, sequences=2000, fresh=20000, seed=0):
    """The whole road for a `Network`: only its states and its own rounded outputs on `sequences` sequences are read.

    A program counts if it is right on all of `fresh` other sequences of the task.
    """
    x, _ = task.sample(sequences, [seed, 2])
    tests = task.sample(fresh, [seed, 3])
    stages = normalise(net, x)
    solutions = {
        k: solve(stages[k].states(x), x, stages[k](x), stages[k].start, seed=seed) for k in ("trained", "quantised")
    }
    right = {k: s.program is not None and not s.program.wrong(*tests) for k, s in solutions.items()}
    return Road(stages, solutions, right, x)
