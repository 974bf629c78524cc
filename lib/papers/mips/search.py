"""Find the shortest expressions that fit a table: all of them from the bottom up, one kept for each distinct set of values.

Expressions with the same values on all rows are the same here (observational equivalence: Udupa et al. 2013, Albarghouthi,
Gulwani and Kincaid 2013). Beyond the enumerated sizes the target leads: what must be added to this expression, what is left
after that guard (Alur, Radhakrishna and Udupa 2017).
"""

import functools
import itertools

import numpy as np

from .expressions import OPERATORS, simplify, size

COMMUTE = {"+", "*", "==", "!=", "min", "max"}
LIMIT = 1_000_000  # larger values are not followed
SIZE = 3  # leaves of the largest expressions that are all built
MOST = 12_000  # of them, at most
TOGETHER = 1_000_000  # values computed at once, so that they fit the cache
TRIED = 256  # expressions that agree with the target on a few rows and are tried on all
PLAIN = 7  # size up to which no quotient or remainder is shorter
CANDIDATES = 8  # expressions of equal values among which the simplest is chosen


def _telling(target):
    """Some rows (few,) by which to tell most columns from `target`: those of its rarest values by turns, at most 12 each."""
    values, counts = np.unique(target, return_counts=True)
    rows = [np.flatnonzero(target == v)[:12] for v in values[np.argsort(counts)][:4]]
    return np.concatenate(rows)[np.argsort(np.concatenate([np.arange(len(r)) for r in rows]), kind="stable")]


class Bank:
    """All expressions of up to three leaves over given leaves, distinct on the rows.

    Attributes:
        expressions: list of them, shortest first.
        values: (expressions, rows), int64.
        sizes: leaves of each, (expressions,).
    """

    def __init__(self, leaf_values, rows):
        """`leaf_values` maps names and numbers to arrays (rows,) or numbers."""
        self.weights = np.random.default_rng(0).integers(1, 2**62, rows, dtype=np.uint64)
        self.expressions, self._codes = [], np.zeros(0, np.uint64)
        self._values, self._sizes = np.empty((MOST, rows), np.int64), np.empty(MOST, int)
        first = [(leaf, np.broadcast_to(np.asarray(v, np.int64), rows)) for leaf, v in leaf_values.items()]
        self._add([e for e, _ in first], np.stack([v for _, v in first]), 1)
        self._unary(1)
        for total in range(2, SIZE + 1):
            for left in range(1, total):
                self._pairs(left, total - left)
            if total < SIZE:
                self._unary(total)

    def codes(self, values):
        """A number (…,), uint64, for each row of values; linear, so sums of values have sums of codes."""
        return values.astype(np.uint64) @ self.weights[: values.shape[-1]]

    @property
    def values(self):
        return self._values[: len(self.expressions)]

    @property
    def sizes(self):
        return self._sizes[: len(self.expressions)]

    def _add(self, expressions, values, size):
        """Take up those of `values` that are new, in their order; expression(i), or expressions[i], gives the i-th."""
        fits = np.flatnonzero((np.abs(values) < LIMIT).all(1))
        codes = self.codes(values[fits])
        first = np.sort(np.unique(codes, return_index=True)[1])
        new = first[~np.isin(codes[first], self._codes)][: MOST - len(self._codes)]
        at = slice(len(self._codes), len(self._codes) + len(new))
        self._codes = np.concatenate([self._codes, codes[new]])
        self._values[at], self._sizes[at] = values[fits[new]], size
        self.expressions += [expressions(i) if callable(expressions) else expressions[i] for i in fits[new]]

    def _unary(self, size):
        at = np.flatnonzero(self.sizes == size)
        for op in ("abs", "neg"):
            self._add([(op, self.expressions[i]) for i in at], OPERATORS[op](self.values[at]), size)

    def _pair(self, op, first, second, i):
        return (op, self.expressions[first[i // len(second)]], self.expressions[second[i % len(second)]])

    def _pairs(self, left, right):
        a, b = np.flatnonzero(self.sizes == left), np.flatnonzero(self.sizes == right)
        constant = (self.values == self.values[:, :1]).all(1) & (self.values[:, 0] > 0)
        for op in ("+", "-", "%", "//", "<", "==", "!=", "min", "max", "*"):
            if op in COMMUTE and left > right:
                continue
            second = b[constant[b]] if op in ("%", "//") else b
            if not len(second) or len(self.expressions) == MOST:
                continue
            for part in np.array_split(a, -(-len(a) * len(second) * self.values.shape[1] // TOGETHER)):
                values = OPERATORS[op](self.values[part][:, None], self.values[second][None])
                make = functools.partial(self._pair, op, part, second)
                self._add(make, values.reshape(-1, values.shape[2]).astype(np.int64, copy=False), left + right)

    def find(self, target, rows=None, bits=frozenset()):
        """The simplest expression found whose values are `target` (rows,) on the rows of the mask; None if there is none.

        `bits` are the names that can only be 0 or 1.
        """
        values = self.values
        if rows is not None and not rows.all():
            values, target = values[:, rows], target[rows]
        if not len(target):
            return 0
        exact = np.flatnonzero((values == target).all(1))
        found = [self.expressions[i] for i in exact[:CANDIDATES] if self.sizes[i] <= self.sizes[exact[0]]]
        found = [simplify(e, bits) for e in found]
        ways = (self._sum, self._modular, self._compare) if not found else (self._modular,) * (min(map(size, found)) > PLAIN)
        found += [simplify(e, bits) for way in ways if (e := way(values, target)) is not None]
        if not found and (e := self._guarded(values, target)) is not None:
            found = [simplify(e, bits)]
        return min(found, key=size, default=None)

    def _sum(self, values, target):
        """target = p + q or p - q."""
        codes, best = self.codes(values), None
        order = np.argsort(codes, kind="stable")
        with np.errstate(over="ignore"):
            goal = self.codes(target)
            for op, wanted in (("+", goal - codes), ("-", codes - goal)):
                place = np.searchsorted(codes[order], wanted).clip(max=len(codes) - 1)
                other = order[place]
                for i in np.flatnonzero(codes[other] == wanted):
                    size = self.sizes[i] + self.sizes[other[i]]
                    if (best is None or size < best[0]) and np.array_equal(
                        OPERATORS[op](values[i], values[other[i]]), target
                    ):
                        best = size, (op, self.expressions[i], self.expressions[other[i]])
        return best and best[1]

    def _modular(self, values, target):
        """target = p % c or p // c for a number c."""
        constant = np.flatnonzero((self.values == self.values[:, :1]).all(1) & (self.values[:, 0] > 1) & (self.sizes <= 2))
        few, best = _telling(target), None
        for c, op in itertools.product(constant, ("%", "//")):
            number = self.values[c, 0]
            rough = np.arange(len(values))
            for part in (few[:2], few):
                rough = rough[(OPERATORS[op](values[np.ix_(rough, part)], number) == target[part]).all(1)]
            rough = rough[:TRIED]
            for i in rough[(OPERATORS[op](values[rough], number) == target).all(1)][:1]:  # the shortest come first
                size = self.sizes[i] + self.sizes[c]
                if best is None or size < best[0]:
                    best = size, (op, self.expressions[i], self.expressions[c])
        return best and best[1]

    def _compare(self, values, target):
        """target = p op q for an operator that cannot be undone, p or q short."""
        short = np.flatnonzero(self.sizes <= 2)[:300]
        truth = np.isin(target, (0, 1)).all()
        few, best = _telling(target), None
        seen, goal = values.T[few], target[few, None]  # (few, expressions)
        parts = {"min": (seen >= goal).all(0), "max": (seen <= goal).all(0), "*": ((seen != 0) | (goal == 0)).all(0)}
        for op in ("<", "==", "!=", "min", "max", "*") if truth else ("min", "max", "*"):
            which = np.flatnonzero(parts[op]) if op in parts else np.arange(len(values))
            equal = self.codes(values[:, target == (op == "==")]) if op in ("==", "!=") else None  # where p and q must be
            for swap, i in itertools.product((False, True) if op == "<" else (False,), short):
                if best is not None and self.sizes[i] + 1 >= best[0]:
                    break  # what follows is no shorter
                if op in parts and not parts[op][i]:
                    continue
                order = (lambda p, q: (q, p)) if swap else (lambda p, q: (p, q))
                rough = which if equal is None else np.flatnonzero(equal == equal[i])
                for row, wanted in zip(seen, goal, strict=True):
                    rough = rough[OPERATORS[op](*order(row[i], row[rough])) == wanted]
                    if not len(rough):
                        break
                rough = rough[:TRIED]
                for j in rough[(OPERATORS[op](*order(values[i], values[rough])) == target).all(1)][:1]:
                    size = self.sizes[i] + self.sizes[j]
                    if best is None or size < best[0]:
                        best = size, (op, *order(self.expressions[i], self.expressions[j]))
        return best and best[1]

    def _guarded(self, values, target):
        """target = p if g else q."""
        guards = np.flatnonzero(np.isin(values, (0, 1)).all(1) & (values != values[:, :1]).any(1))[:400]
        if not len(guards):
            return None
        g = values[guards].astype(np.float32)
        misses = (values != target).astype(np.float32)
        missed = misses @ g.T  # (expressions, guards)
        yes, no = missed == 0, missed == misses.sum(1, keepdims=True)
        both = np.flatnonzero(yes.any(0) & no.any(0))
        if not len(both):
            return None
        p, q = yes[:, both].argmax(0), no[:, both].argmax(0)
        k = (self.sizes[p] + self.sizes[q] + self.sizes[guards[both]]).argmin()
        return ("if", self.expressions[guards[both[k]]], self.expressions[p[k]], self.expressions[q[k]])
