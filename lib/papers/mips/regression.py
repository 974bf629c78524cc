"""From tables of whole numbers to a program: the last steps of MIPS (Michaud et al., arXiv:2402.05110).

Three regressions, tried in the authors' order, the first program that is right on all given sequences wins: linear (least
squares, rounded), Boolean (clusters of hidden states become bits, the permutation with the shortest text wins) and integer
(all expressions of up to six symbols). Programs update the state variables a, b, c, … and answer from their new values.
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations, product
from string import ascii_lowercase

import numpy as np
from sklearn.cluster import KMeans

from ...checks import check
from .expressions import OPERATORS, chain, evaluate, linear, rename, simplify, text
from .lattice import Lattice, Table, best_lattice, label, transitions
from .programs import Program, symbols
from .tasks import wrong


def _program(kind, start, updates, outputs, inputs):
    """The `Program` whose states a, b, c, … begin at `start` and become `updates`; `outputs` are read from the new ones.

    Signs and numbers are collected; else the expressions stay as they were found.
    """
    states, answers = ascii_lowercase[: len(start)], ["y"] if len(outputs) == 1 else [f"y{i}" for i in range(len(outputs))]
    new = {name: f"next_{name}" for name in states}
    steps = [*zip(new.values(), updates, strict=True), *zip(answers, (rename(e, new) for e in outputs), strict=True)]
    steps = tuple((name, simplify(e)) for name, e in steps)
    return Program(kind, symbols(inputs), dict(zip(states, map(int, start), strict=True)), steps, tuple(answers))


# --- linear


def linear_program(table, start):
    """Least squares for (z, x) -> z' and z' -> y, all coefficients rounded.

    Codes count from the first one, `start` (n,), so that the program's variables begin at 0.
    """

    def fit(given, wanted, variables):
        design = np.concatenate([given, np.ones((len(given), 1))], 1)
        whole = np.round(np.linalg.lstsq(design, wanted, rcond=None)[0]).astype(np.int64).T.tolist()
        return [linear(zip(row, (*variables, 1), strict=True)) for row in whole]

    n, d = table.current.shape[1], table.inputs.shape[1]
    before, after = np.concatenate([table.previous - start, table.inputs], 1), table.current - start
    states = tuple(ascii_lowercase[:n])
    updates = fit(before, after, (*states, *symbols(d)))
    return _program("linear", (0,) * n, updates, fit(after, table.outputs, states), d)


def affine_program(net):
    """The `Program` that an affine `Network` in whole numbers is, its entries rounded: in observer form, at once."""
    W, U, b, V, c = (np.round(part).astype(np.int64).tolist() for part in net.weights)
    states, read = tuple(ascii_lowercase[: net.size]), symbols(len(U[0]))
    updates = [linear(zip((*w, *u, k), (*states, *read, 1), strict=True)) for w, u, k in zip(W, U, b, strict=True)]
    outputs = [linear(zip((*v, k), (*states, 1), strict=True)) for v, k in zip(V, c, strict=True)]
    return _program("linear", np.round(net.start), updates, outputs, len(read))


# --- Boolean


@cache
def boolean_expression(truth, variables):
    """The shortest text of a Boolean function: disjunctive normal form, a variable ^ the rest, or, if symmetric, a test of
    the sum.

    Args:
        truth: tuple of values 0 or 1 for all 2^k settings; variable i is bit i of the index.
        variables: tuple of k names.
    """
    truth = np.asarray(truth)
    index = np.arange(len(truth))
    used = [i for i in range(len(variables)) if (truth != truth[index ^ (1 << i)]).any()]
    if not used:
        return int(truth[0])
    index = np.arange(1 << len(used))
    small = truth[sum(((index >> j) & 1) << i for j, i in enumerate(used))]
    named = [variables[i] for i in used]
    terms = [chain("&", [v if (i >> j) & 1 else ("-", 1, v) for j, v in enumerate(named)]) for i in index[small == 1]]
    found = [chain("|", terms)]
    turning = [j for j in range(len(used)) if (small != small[index ^ (1 << j)]).all()]  # what turns every value
    if turning and len(used) > 1:
        rest = boolean_expression(tuple(small[index & ~(1 << turning[0])].tolist()), tuple(named))
        found.append(("^", named[turning[0]], rest))
    ones = sum((index >> j) & 1 for j in range(len(used)))
    by_sum = [set(small[ones == k].tolist()) for k in range(len(used) + 1)]
    if all(len(values) == 1 for values in by_sum):
        true = [k for k, values in enumerate(by_sum) if values == {1}]
        total = chain("+", named)
        if true == list(range(true[0], len(used) + 1)):
            found.append((">", total, true[0] - 1))
        if true == list(range(len(true))):
            found.append(("<", total, len(true)))
        found.append(("in", total, *true))
    return min(found, key=lambda e: len(text(e)))


def _fewest(truth, variables):
    """A Boolean function, as for `boolean_expression`, as a disjunctive normal form of few terms (Quine and McCluskey)."""
    import sympy  # few programs are Boolean, and the import takes a third of a second
    from sympy.logic import SOPform

    settings = [[index >> i & 1 for i in range(len(variables))] for index in np.flatnonzero(truth).tolist()]

    def ours(e):
        if isinstance(e, sympy.Not):
            return ("-", 1, ours(e.args[0]))
        parts = sorted(map(ours, e.args), key=lambda part: text(part).lstrip("(1 -"))  # by names
        if parts:
            return chain("|" if isinstance(e, sympy.Or) else "&", parts)
        return int(bool(e)) if e in (sympy.true, sympy.false) else str(e)

    return ours(SOPform(sympy.symbols(variables), settings))


def _codings(clusters):
    """All ways (ways, clusters) to name 2^b clusters by b bits, up to the order of the bits."""
    bits = clusters.bit_length() - 1
    perms = np.array(list(permutations(range(clusters))))
    moved = [sum(((perms >> i) & 1) << j for i, j in enumerate(order)) for order in permutations(range(bits))]
    numbers = np.stack([m @ clusters ** np.arange(clusters)[::-1] for m in moved])
    return perms[numbers[0] == numbers.min(0)]


def boolean_program(previous, inputs, current, outputs, start, bits, *, seed=0):
    """Clusters of hidden states as bits: the shortest program of all codings of 2^bits clusters, written with few terms.

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
    rows = np.unique(np.stack([before, symbol, after], 1), axis=0)
    values = np.unique(np.concatenate([after[:, None], outputs.astype(int)], 1), axis=0)
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
    states, lengths, found = tuple(ascii_lowercase[:bits]), 0, []
    for functions, variables in ((truth, (*states, *symbols(reads))), (shown, states)):
        unique, where = np.unique(functions.reshape(-1, functions.shape[2]), axis=0, return_inverse=True)
        where = where.reshape(functions.shape[:2])
        expressions = [boolean_expression(tuple(f), variables) for f in unique.tolist()]
        lengths = lengths + np.array([len(text(e)) for e in expressions])[where].sum(1)
        found.append((unique, variables, expressions, where))
    best = lengths.argmin()
    first = code[best, np.linalg.norm(means.cluster_centers_ - start, axis=1).argmin()]
    updates, answers = (
        [min(expressions[i], _fewest(unique[i], variables), key=lambda e: len(text(e))) for i in where[best]]
        for unique, variables, expressions, where in found
    )
    return _program("Boolean", [first >> i & 1 for i in range(bits)], updates, answers, reads)


# --- integer

UNARY = {
    "+1": lambda e: ("+", e, 1), "-1": lambda e: ("-", e, 1), "neg": lambda e: ("neg", e), "> 0": lambda e: (">", e, 0),
    "== 0": lambda e: ("==", e, 0), "abs": lambda e: ("abs", e), "+100": lambda e: ("+", e, 100),
    "-100": lambda e: ("-", e, 100),
}  # fmt: skip
PAIRS = ("+", "-", "*", "%")
CONSTANTS = (3, 4)
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
        A list of k expressions, None where there is none.
    """
    given, wanted = np.asarray(given, dtype=np.int64), np.asarray(wanted, dtype=np.int64)
    found, known, bank = [None] * wanted.shape[1], set(), {}
    for length in range(1, SYMBOLS + 1):
        values, expressions = [], []

        def level(block, expression, values=values, expressions=expressions, last=length == SYMBOLS):
            """Note which wanted columns the rows of `block` answer; expression(i) is the i-th, kept if it is new."""
            for k, column in enumerate(wanted.T):
                if found[k] is None and (hits := np.flatnonzero((block == column).all(1))).size:
                    found[k] = expression(hits[0])
            if not last:
                fresh = _new(block, known)
                values.append(block[fresh])
                expressions.extend(expression(i) for i in fresh)

        if length == 1:
            constants = np.repeat(np.array(CONSTANTS)[:, None], len(given), 1)
            level(np.concatenate([given.T, constants]), (*variables, *CONSTANTS).__getitem__)
        else:
            below, short = bank[length - 1]
            for form in UNARY.values():
                level(evaluate(form("e"), {"e": below}), lambda i, form=form, short=short: form(short[i]))
            for left in range(1, length - 1):
                (A, first), (B, second) = bank[left], bank[length - 1 - left]
                size = max(1, CHUNK // max(1, B.size))
                for op in PAIRS:
                    use = np.flatnonzero((B != 0).all(1)) if op == "%" else np.arange(len(B))
                    for at in range(0, len(A) if len(use) else 0, size):
                        block = OPERATORS[op](A[at : at + size, None], B[None, use]).reshape(-1, len(given))
                        level(block, lambda i, at=at, op=op, first=first, second=second, use=use:
                              (op, first[at + i // len(use)], second[use[i % len(use)]]))  # fmt: skip
        if all(e is not None for e in found):
            break
        bank[length] = (np.concatenate(values), expressions) if values else (np.zeros((0, len(given)), np.int64), [])
    return found


def _first_rows(keys, values):
    """The first distinct rows of `keys`, at most `ROWS`, each with the values it has most often."""
    pairs, counts = np.unique(np.concatenate([keys, values], 1), axis=0, return_counts=True)
    often = pairs[np.argsort(-counts, kind="stable")]
    some = keys[np.sort(np.unique(keys, axis=0, return_index=True)[1])[:ROWS]]
    width = keys.shape[1]
    return some, np.stack([often[(often[:, :width] == key).all(1)][0, width:] for key in some])


def integer_program(table, start):
    """Expressions for (z, x) -> z' and z' -> y on the table's first 25 distinct rows; a `Program`, or None."""
    states, d = tuple(ascii_lowercase[: table.current.shape[1]]), table.inputs.shape[1]
    outputs = integer_expressions(*_first_rows(table.current, table.outputs), states)
    if None in outputs:
        return None
    before = np.concatenate([table.previous, table.inputs], 1)
    updates = integer_expressions(*_first_rows(before, table.current), (*states, *symbols(d)))
    return None if None in updates else _program("integer", start, updates, outputs, d)


# --- all three


@dataclass(frozen=True)
class Solution:
    """What `regress` found.

    Attributes:
        program: the `Program`, of kind "linear", "Boolean" or "integer"; None if none was right.
        finder: which finder's lattice, "linear" or "GCD"; None without a lattice.
        lattice, table: the `Lattice` and its `Table`, or None.
    """

    program: Program | None
    finder: str | None
    lattice: Lattice | None
    table: Table | None


def regress(hidden, inputs, outputs, start=None, *, seed=0):
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
            yield from (linear_program(table, z) for z in first)
        if set(np.unique(whole)) <= {0, 1} and set(np.unique(wanted)) <= {0, 1}:
            some = [part[:1000] for part in rows]
            yield from (boolean_program(*some, start, bits, seed=seed) for bits in (n, n + 1) if bits <= 3)
        if lattice and n <= 2 and n + whole.shape[2] <= 6:
            top = table.current.max(0)
            for signs in product((False, True), repeat=n):
                turned = integer_program(table.mirrored(signs), first[0])
                if turned:
                    starts = np.unique([np.where(signs, top - z, z) for z in first], axis=0)
                    yield from (replace(turned, start=dict(zip(turned.start, z, strict=True))) for z in starts.tolist())

    right = (program for program in candidates() if program is not None and not wrong(program, whole, wanted).any())
    return Solution(next(right, None), finder, lattice, table)
