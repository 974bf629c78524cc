"""Expressions on whole numbers: tuples (operator, argument, …), a name (a text) or a number, evaluated on arrays."""

import numpy as np

OPERATORS = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "//": np.floor_divide,
    "%": np.mod,
    "<": np.less,
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


def leaves(expression):
    """Number of names and numbers in an expression."""
    return sum(map(leaves, expression[1:])) if isinstance(expression, tuple) else 1


def names(expression):
    """The set of names in an expression."""
    if isinstance(expression, tuple):
        return set().union(*map(names, expression[1:]))
    return {expression} if isinstance(expression, str) else set()


def evaluate(expression, values):
    """The value of an expression, int64, where `values` maps names to arrays (or, for "at", tables)."""
    if isinstance(expression, tuple):
        return np.asarray(OPERATORS[expression[0]](*(evaluate(e, values) for e in expression[1:]))).astype(np.int64)
    return values[expression] if isinstance(expression, str) else np.int64(expression)


def text(expression, top=True):
    """An expression as Python."""
    if not isinstance(expression, tuple):
        shown = str(expression)
        return shown if top or not shown.startswith("-") else f"({shown})"
    op, *args = expression
    if op == "at":
        return args[0] + "".join(f"[{text(a)}]" for a in args[1:])
    if op in ("min", "max", "abs"):
        return f"{op}({', '.join(map(text, args))})"
    if op in ("<", "==", "!="):
        return f"int({text(args[0], False)} {op} {text(args[1], False)})"
    if op == "in":
        return f"int({text(args[0], False)} in ({', '.join(map(str, args[1:]))},))"
    if op == "neg":
        shown = f"-{text(args[0], False)}"
    elif op == "if":
        shown = f"{text(args[1], False)} if {text(args[0], False)} else {text(args[2], False)}"
    elif op == "+":  # a sum needs no brackets in a sum
        first = text(args[0], isinstance(args[0], tuple) and args[0][0] in "+-")
        shown = f"{first} + {text(args[1], isinstance(args[1], tuple) and args[1][0] == '+')}"
    else:
        shown = f"{text(args[0], False)} {op} {text(args[1], False)}"
    return shown if top else f"({shown})"
