"""Expressions on whole numbers: tuples (operator, argument, …), a name (a text) or a number, evaluated on arrays."""

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
    "==": np.equal,
    "!=": np.not_equal,
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "neg": np.negative,
    "if": lambda guard, yes, no: np.where(guard != 0, yes, no),
    "in": lambda value, *members: np.isin(value, members),
    "at": lambda *path: np.asarray(path[0])[tuple(path[1:])],
}
COMPARISONS = {"<", ">", "==", "!=", "in"}
BINDS = {"|": 1, "^": 2, "&": 3, "+": 4, "-": 4, "*": 5, "//": 5, "%": 5, "neg": 6}  # how strongly, as in Python
CHAINS = {("+", "+"), ("+", "-"), ("-", "+"), ("-", "-"), ("^", "^"), ("&", "&"), ("|", "|"), ("*", "*")}  # left to right


def leaves(expression):
    """Number of names and numbers in an expression."""
    return sum(map(leaves, expression[1:])) if isinstance(expression, tuple) else 1


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


def linear(terms):
    """The sum of coefficient times name, for (coefficient, name) in `terms`, as an expression; the name 1 is a number."""
    total = None
    for k, name in terms:
        part = abs(k) if name == 1 else name if abs(k) == 1 else ("*", abs(k), name)
        if k and total is None:
            total = part if k > 0 else -part if name == 1 else ("neg", part)
        elif k:
            total = ("+" if k > 0 else "-", total, part)
    return 0 if total is None else total


def text(expression):
    """An expression as Python, with brackets where Python or a reader needs them."""
    if not isinstance(expression, tuple):
        return str(expression)
    op, *args = expression
    if op == "at":
        return args[0] + "".join(f"[{text(a)}]" for a in args[1:])
    if op in ("min", "max", "abs"):
        return f"{op}({', '.join(map(text, args))})"
    if op == "in":
        return f"int({_part(args[0], 1)} in ({', '.join(map(str, args[1:]))},))"
    if op in COMPARISONS:
        return f"int({_part(args[0], 1)} {op} {_part(args[1], 1)})"
    if op == "if":
        return f"{_part(args[1], 1)} if {_part(args[0], 1)} else {_part(args[2], 1)}"
    if op == "neg":
        return f"-{_part(args[0], BINDS[op] + 1)}"
    heads = [part[0] if isinstance(part, tuple) else None for part in args]
    left = _part(args[0], BINDS[op] + ((heads[0], op) not in CHAINS))
    return f"{left} {op} {_part(args[1], BINDS[op] + ((op, heads[1]) not in CHAINS or op == '-'))}"


def _part(expression, strength):
    """An argument as Python, in brackets if it binds less strongly than `strength`."""
    negative = not isinstance(expression, (tuple, str)) and expression < 0
    op = expression[0] if isinstance(expression, tuple) else "neg" if negative else None
    weak = BINDS.get(op, 0 if op == "if" else 9) < strength
    return f"({text(expression)})" if weak else text(expression)
