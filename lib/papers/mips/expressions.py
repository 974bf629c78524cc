"""Expressions on whole numbers, evaluated, simplified and printed: tuples (operator, argument, …), a name or a number.

What ^, & and | join are bits, 0 or 1.
"""

from functools import lru_cache, reduce

import numpy as np

OPERATORS = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "//": np.floor_divide,
    "%": np.mod,
    "^": np.bitwise_xor,
    "&": np.bitwise_and,
    "|": np.bitwise_or,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "neg": np.negative,
    "not": lambda value: value == 0,
    "if": lambda guard, yes, no: np.where(guard != 0, yes, no),
    "in": lambda value, *members: np.isin(value, members),
    "at": lambda *path: np.asarray(path[0])[tuple(path[1:])],
}
OPPOSITE = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}
MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
TRUTHS = {*OPPOSITE, "in", "not"}  # operators whose value is 0 or 1
BINDS = {"|": 1, "^": 2, "&": 3, "+": 4, "-": 4, "*": 5, "//": 5, "%": 5, "neg": 6}  # how strongly, as in Python
CHAINS = {("+", "+"), ("+", "-"), ("-", "+"), ("-", "-"), ("^", "^"), ("&", "&"), ("|", "|"), ("*", "*")}  # left to right
WORDS = {"&": ("and", 2), "|": ("or", 1)}  # of truths, and how strongly they bind


def size(expression, condition=False):
    """How much there is to read in an expression: names, numbers and operators, a choice or a change of sign twice, and a
    comparison whose truth is used as a number (but as a `condition`) three more."""
    if not isinstance(expression, tuple):
        return 1
    op, *args = expression
    says = _truthful(expression)
    inside = [(op == "if" and not i) or (says and op in ("&", "|", "^", "not")) for i in range(len(args))]
    here = (2 if op in ("if", "neg", "not") else 1) + 3 * (says and not condition)
    return here + sum(map(size, args, inside))


def names(expression):
    """The set of names in an expression."""
    if isinstance(expression, tuple):
        return set().union(*map(names, expression[1:]))
    return {expression} if isinstance(expression, str) else set()


def rename(expression, new):
    """The expression with names replaced as the dict `new` says."""
    if isinstance(expression, tuple):
        return (expression[0], *(rename(part, new) for part in expression[1:]))
    return new.get(expression, expression)


def evaluate(expression, values):
    """The value of an expression, int64, where `values` maps names to arrays (or, for "at", tables)."""
    if isinstance(expression, tuple):
        return np.asarray(OPERATORS[expression[0]](*(evaluate(e, values) for e in expression[1:]))).astype(np.int64)
    return values[expression] if isinstance(expression, str) else np.int64(expression)


def chain(op, parts):
    """The parts joined by an operator, from left to right."""
    return reduce(lambda left, right: (op, left, right), parts)


def linear(terms):
    """The sum of coefficient times expression, for (coefficient, expression) in `terms`; the expression 1 is the number."""
    total = None
    for k, e in terms:
        part = abs(k) if e == 1 else e if abs(k) == 1 else ("*", abs(k), e)
        if k and total is None:
            total = part if k > 0 else -part if e == 1 else ("neg", part)
        elif k:
            total = ("+" if k > 0 else "-", total, part)
    return 0 if total is None else total


# --- the form a person would write


def terms(expression):
    """An expression as a sum: {expression: coefficient}, where 1 stands for the number."""
    if not isinstance(expression, (tuple, str)):
        return {1: int(expression)}
    op, *args = expression if isinstance(expression, tuple) else (None,)
    if op == "neg":
        return {e: -k for e, k in terms(args[0]).items()}
    if op in ("+", "-"):
        total = dict(terms(args[0]))
        for e, k in terms(args[1]).items():
            total[e] = total.get(e, 0) + (k if op == "+" else -k)
        return total
    if op == "*":
        number, other = sorted(args, key=lambda e: isinstance(e, (tuple, str)))
        if not isinstance(number, (tuple, str)):
            return {e: k * int(number) for e, k in terms(other).items()}
        signs = [isinstance(e, tuple) and e[0] == "neg" for e in args]
        return {("*", *(e[1] if sign else e for e, sign in zip(args, signs, strict=True))): (-1) ** sum(signs)}
    if op == "not" and not _truthful(args[0]):
        return {1: 1, args[0]: -1}
    return {expression: 1}


def total(parts):
    """The sum {expression: coefficient}: what is added before what is taken off, in alphabetical order, the number last."""
    order = sorted(parts, key=lambda e: (parts[e] < 0, e == 1, *_order(e)))
    return linear((parts[e], e) for e in order)


def _order(expression):
    """Names in alphabetical order, then what is longer."""
    return isinstance(expression, tuple), str(expression)


def _links(expression):
    """The parts of a chain of ^."""
    is_link = isinstance(expression, tuple) and expression[0] == "^"
    return [part for e in expression[1:] for part in _links(e)] if is_link else [expression]


def is_bit(expression, bits):
    """Whether an expression can only be 0 or 1, given the set of names `bits` that can."""
    if isinstance(expression, tuple):
        op, *args = expression
        inside = args[1:] if op == "if" else args
        return (
            op in TRUTHS
            or (op == "%" and args[1] == 2)
            or (op == "-" and args[0] == 1 and is_bit(args[1], bits))
            or (op in ("&", "|", "^", "if", "min", "max", "*") and all(is_bit(a, bits) for a in inside))
        )
    return expression in bits if isinstance(expression, str) else expression in (0, 1)


def simplify(expression, bits=frozenset()):
    """An equal expression as a person would write it: signs collected, comparisons turned round, bits treated as such."""
    while True:
        simpler = _rewrite(expression, bits)
        if simpler == expression:
            return expression
        expression = simpler


def _rewrite(expression, bits):
    if not isinstance(expression, tuple) or expression[0] == "at":
        return expression
    op, *args = expression[0], *(_rewrite(e, bits) for e in expression[1:])
    if all(not isinstance(a, (tuple, str)) for a in args):
        return int(evaluate((op, *args), {}))
    logical = all(is_bit(a, bits) for a in args)
    if op in ("+", "-", "neg", "*"):
        parts = {e: k for e, k in terms((op, *args)).items() if k}
        ones = [e for e in parts if e != 1]
        if len(ones) == 1 and is_bit(ones[0], bits) and parts == {1: 1, ones[0]: -1}:
            return ("not", ones[0])
        if op == "*" and logical:
            return ("&", *args)
        for e in [e for e in ones if isinstance(e, tuple) and e[0] == "%" and parts[e] == -1]:
            if isinstance(e[2], int) and parts.get(1) == e[2] - 1:  # k - 1 - e % k, counted the other way
                rest = {f: c for f, c in parts.items() if f not in (1, e)}
                turned = _rewrite(("%", ("-", e[2] - 1, e[1]), e[2]), bits)
                if size(turned) < size(e):
                    return total(rest | {turned: rest.get(turned, 0) + 1})
        return (op, *args) if op == "*" and (op, *args) in parts else total(parts)
    if op in OPPOSITE:
        return _comparison(op, *args, bits)
    match (op, *args):
        case ("not", ("not", e)) | ("abs", ("neg", e)):
            return e if op == "not" else ("abs", e)
        case ("not", (inner, e, f)) if inner in OPPOSITE:
            return (OPPOSITE[inner], e, f)
        case ("not", 0 | 1):
            return 1 - args[0]
        case ("^", ("not", e), f) | ("^", f, ("not", e)):
            return ("not", ("^", e, f))
        case ("^" | "|", 0, e) | ("^" | "|", e, 0) | ("&", 1, e) | ("&", e, 1) if logical:
            return e
        case ("^", 1, e) | ("^", e, 1) if logical:
            return ("not", e)
        case ("^", _, _):
            return chain("^", sorted(_links(("^", *args)), key=_order))
        case ("abs", ("-", e, f)) if is_bit(e, bits) and is_bit(f, bits):
            return ("^", e, f)
        case ("abs", ("-", e, f)) if isinstance(e, int) and not isinstance(f, int):
            return ("abs", ("-", f, e))
        case ("abs", e) if logical:
            return e
        case ("min" | "max", e, f) if logical:
            return ("&" if op == "min" else "|", e, f)
        case ("min" | "max", e, f) if isinstance(e, int) and not isinstance(f, int):
            return (op, f, e)
        case ("%", e, int(k)) if k > 1:
            parts = {f: c % k if f == 1 else c for f, c in terms(e).items()}
            parts = {f: c for f, c in parts.items() if c}
            if k == 2 and parts and all((c == 1 or f == 1) and is_bit(f, bits) for f, c in parts.items()):
                return chain("^", sorted(parts, key=_order))
            return ("%", total(parts), k)
        case ("if", ("not", g), e, f):
            return ("if", g, f, e)
        case ("if", (("!=" | ">=" | "<=") as inner, g, h), e, f):
            return ("if", (OPPOSITE[inner], g, h), f, e)
        case ("if", g, 1, 0) if is_bit(g, bits):
            return g
        case ("if", g, 0, 1) if is_bit(g, bits):
            return ("not", g)
        case ("if", g, e, 0) if logical:
            return ("&", g, e)
        case ("if", g, 1, e) if logical:
            return ("|", g, e)
    return (op, *args)


def _comparison(op, left, right, bits):
    """`left op right` with every part on the side where it is added, what is not a number on the left."""
    if is_bit(left, bits) and is_bit(right, bits):
        if op in ("==", "!="):
            return ("^", left, right) if op == "!=" else ("not", ("^", left, right))
        if op in ("<", ">"):
            small, large = (left, right) if op == "<" else (right, left)
            return ("&", large, ("not", small))
        if op in ("<=", ">="):
            small, large = (left, right) if op == "<=" else (right, left)
            return ("|", large, ("not", small))
    for e, f in ((left, right), (right, left)):
        if op == "==" and isinstance(e, tuple) and e[0] in ("min", "max") and f in e[1:]:
            return (">=" if e[0] == "min" else "<=", e[1] if e[2] == f else e[2], f)
    parts = {e: k for e, k in terms(("-", left, right)).items() if k}
    more, less = ({e: abs(k) for e, k in parts.items() if (k > 0) == side} for side in (True, False))
    if set(more) <= {1} or (set(less) - {1} and sum(less.values()) > sum(more.values())):
        op, more, less = MIRRORED[op], less, more
    if op == ">" and set(less) <= {1} and set(more.values()) == {1} and all(is_bit(e, bits) for e in more):
        joins = {0: "|", len(more) - 1: "&"}  # at least one of these bits, all of them
        if less.get(1, 0) in joins:
            return chain(joins[less.get(1, 0)], sorted(more, key=str))
    return (op, total(more), total(less))


# --- text


@lru_cache(1 << 16)
def text(expression):
    """An expression as Python, a number in value, with brackets where Python or a reader needs them."""
    if not isinstance(expression, tuple):
        return str(expression)
    op, *args = expression
    if op == "at":
        return args[0] + "".join(f"[{text(a)}]" for a in args[1:])
    if op in ("min", "max", "abs"):
        return f"{op}({', '.join(map(text, args))})"
    if op == "if":
        return f"{_part(args[1], 1)} if {truth(args[0], 1)} else {_part(args[2], 1)}"
    if op == "neg":
        return f"-{_part(args[0], BINDS[op] + 1)}"
    if op == "not" and not _truthful(args[0]):
        return f"1 - {_part(args[0], 5)}"
    if op in TRUTHS or _truthful(expression):
        return f"int({truth(expression)})"
    heads = [part[0] if isinstance(part, tuple) else None for part in args]
    sums = [7 if op in ("&", "|", "^") and head in ("+", "-", "*", "//", "%", "not") else 0 for head in heads]  # (1 - a) & x
    left = _part(args[0], max(sums[0], BINDS[op] + ((heads[0], op) not in CHAINS)))
    return f"{left} {op} {_part(args[1], max(sums[1], BINDS[op] + ((op, heads[1]) not in CHAINS or op == '-')))}"


@lru_cache(1 << 16)
def _truthful(expression):
    """Whether an expression says yes or no, and is not a sum or a chain of bits."""
    if not isinstance(expression, tuple):
        return False
    op, *args = expression
    if op == "not":
        return _truthful(args[0])
    told = any(isinstance(a, tuple) and a[0] in ("not", "^") for a in args)
    return op in TRUTHS or (op in ("&", "|", "^") and any(map(_truthful, args))) or (op in ("&", "|") and told)


def truth(expression, strength=0):
    """An expression as a condition in Python: what is not 0 counts as true; in brackets if it binds less than `strength`."""
    op, *args = expression if isinstance(expression, tuple) else (None, expression)
    pair = args[0] if op == "not" and isinstance(args[0], tuple) else expression
    if op in OPPOSITE:
        shown, binds = f"{_part(args[0], 1)} {op} {_part(args[1], 1)}", 4
    elif op == "in":
        shown, binds = f"{_part(args[0], 1)} in ({', '.join(map(str, args[1:]))}{',' * (len(args) == 2)})", 4
    elif isinstance(pair, tuple) and pair[0] == "^" and not any(isinstance(e, tuple) and e[0] == "^" for e in pair[1:]):
        shown, binds = f"{truth(pair[1], 5)} {'==' if op == 'not' else '!='} {truth(pair[2], 5)}", 4
    elif op == "not":
        shown, binds = f"not {truth(args[0], 3)}", 3
    elif op in ("&", "|"):
        word, binds = WORDS[op]
        shown = f"{truth(args[0], binds)} {word} {truth(args[1], binds)}"
    elif op == "^" and _truthful(expression):
        shown, binds = f"{truth(args[0], 5)} != {truth(args[1], 5)}", 4
    else:
        shown, binds = text(expression), 0 if op == "if" else 5
    return f"({shown})" if binds < strength else shown


def _part(expression, strength):
    """An argument as Python, in brackets if it binds less strongly than `strength`."""
    negative = not isinstance(expression, (tuple, str)) and expression < 0
    op = expression[0] if isinstance(expression, tuple) else "neg" if negative else None
    op = "-" if op == "not" and not _truthful(expression[1]) else "int" if _truthful(expression) else op
    weak = BINDS.get(op, 0 if op == "if" else 9) < strength
    return f"({text(expression)})" if weak else text(expression)
