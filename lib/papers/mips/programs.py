"""Programs: a few assignments of expressions, run by our own interpreter, printed as Python.

Printed text is run only after its syntax tree has been found to hold nothing but arithmetic on named lists of numbers.
"""

import ast
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from .expressions import evaluate, names, rename, size, text

KINDS = ("affine", "formula", "template", "table")


def symbols(inputs):
    """What programs call the symbols of a step: x, or x0, x1."""
    return ("x",) if inputs == 1 else tuple(f"x{i}" for i in range(inputs))


@dataclass(frozen=True)
class Program:
    """A program that reads symbols and answers, step by step.

    Attributes:
        kind: how it was found: one of `KINDS`, or the paper's "linear", "Boolean" and "integer".
        inputs: names of the symbols of a step.
        start: first values of the variables it keeps: {name: number}.
        steps: ((name, expression), …), in order; a name in `outputs` or, for the next value of a variable v, "next_v".
        outputs: names of the answers.
        tables: {name: nested list}, for the operator "at".
    """

    kind: str
    inputs: tuple
    start: dict
    steps: tuple
    outputs: tuple
    tables: dict = field(default_factory=dict)

    def trace(self, x: Int[np.ndarray, "sequences times inputs"]) -> dict[str, Int[np.ndarray, "sequences times"]]:
        """The value of every name in `steps` after each symbol of x (N, T, inputs): {name: (N, T)}, int64."""
        x = np.asarray(x).astype(np.int64)
        values = {name: np.full(len(x), v) for name, v in self.start.items()}
        values |= {name: np.array(table) for name, table in self.tables.items()}
        seen = {name: np.empty(x.shape[:2], np.int64) for name, _ in self.steps}
        for t in range(x.shape[1]):
            values |= dict(zip(self.inputs, x[:, t].T, strict=True))
            for name, expression in self.steps:
                values[name] = seen[name][:, t] = evaluate(expression, values)
            values |= {name: values[f"next_{name}"] for name in self.start}
        return seen

    def __call__(self, x: Int[np.ndarray, "sequences times inputs"]) -> Int[np.ndarray, "sequences times outputs"]:
        """Answers (N, T, outputs), int64, to x (N, T, inputs): the interpreter."""
        seen = self.trace(x)
        return np.stack([seen[name] for name in self.outputs], 2)

    @property
    def size(self):
        """How much there is to read: its expressions, see `expressions.size`, and first values that are not 0.

        A sum that is divided once more is not read again.
        """
        sums = [e[1] for _, e in self.steps if isinstance(e, tuple) and e[0] in ("//", "%")]
        again = sum(size(e) - 1 for e in sums) - sum(size(e) - 1 for e in set(sums))
        return sum(size(e) for _, e in self.steps) + sum(value != 0 for value in self.start.values()) - again

    @property
    def updates(self):
        """What each variable becomes, as Python: {variable: text}."""
        return {name[5:]: text(expression) for name, expression in self.steps if name.startswith("next_")}

    @property
    def answers(self):
        """What is answered, as Python, where that reads new values of the variables only, by their names: {name: text}."""
        old = {f"next_{name}": name for name in self.start}
        return {name: text(rename(expression, old)) for name, expression in self.steps if name in self.outputs}

    def text(self):
        """The program as Python: f(xs) maps a list of symbols (or of tuples) to the list of answers (or of tuples).

        All variables change at once, at the end of a step; before the answers where these read new values only.
        """
        lines = ["def f(xs):"] + [f"    {name} = {table}" for name, table in self.tables.items()]
        if self.start:
            lines.append(f"    {', '.join(self.start)} = {', '.join(map(str, self.start.values()))}")
        lines += ["    ys = []", f"    for {', '.join(self.inputs)} in xs:"]
        new = {f"next_{name}": name for name in self.start}
        answers = [(name, expression) for name, expression in self.steps if name not in new]
        early = self.steps[-len(answers) :] == tuple(answers) and not any(names(e) & set(self.start) for _, e in answers)
        before, now, later = [], [], []
        for name, expression in self.steps:
            inside = any(name in names(e) for other, e in self.steps if not (early and other in self.outputs))
            if name in new and not inside:  # what nothing else in the step reads goes into one assignment
                later.append((new[name], text(expression)))
            else:
                (before if name in new or not early else now).append((name, text(rename(expression, new if early else {}))))
                later += [(new[name], name)] if name in new else []
        later = [(name, value) for name, value in later if name != value]
        update = [(", ".join(name for name, _ in later), ", ".join(value for _, value in later))] if later else []
        lines += [f"        {name} = {value}" for name, value in [*before, *update, *now]]
        answer = self.outputs[0] if len(self.outputs) == 1 else f"({', '.join(self.outputs)})"
        return "\n".join([*lines, f"        ys.append({answer})", "    return ys", ""])


@dataclass(frozen=True)
class Template:
    """A program of a declared form that is not step by step.

    Attributes:
        form: "majority": the most frequent symbol so far, the smallest of several; "mirror": 1 if, at each step t, the pairs
            of positions in `pairs[t]` hold equal symbols.
        pairs: for "mirror": a list of lists of (i, j).
    """

    form: str
    pairs: tuple = ()
    kind = "template"

    def __call__(self, x: Int[np.ndarray, "sequences times inputs"]) -> Int[np.ndarray, "sequences times outputs"]:
        """Answers (N, T, 1) to x (N, T, 1)."""
        if self.form == "majority":
            return (x == np.arange(x.max() + 1)).cumsum(1).argmax(2)[:, :, None]
        equal = x[:, :, None, 0] == x[:, None, :, 0]
        rule = range(x.shape[1])
        return (
            np.stack([np.all([equal[:, i, j] for i, j in self.at(t)] or [equal[:, 0, 0]], 0) for t in rule], 1)[:, :, None]
            * 1
        )

    @property
    def sums(self):
        """Whether the pairs of step t are those with i + j = t: then the program goes on for ever."""
        return all(set(p) == {(i, t - i) for i in range((t + 1) // 2)} for t, p in enumerate(self.pairs))

    def at(self, t):
        return [(i, t - i) for i in range((t + 1) // 2)] if self.sums else self.pairs[t]

    def text(self):
        """The program as Python."""
        if self.form == "majority":
            counts = "        counts = [xs[: t + 1].count(x) for x in range(max(xs) + 1)]\n"
            body = counts + "        ys.append(counts.index(max(counts)))\n"
            return f"def f(xs):\n    ys = []\n    for t in range(len(xs)):\n{body}    return ys\n"
        rule = "xs[i] == xs[t - i] for i in range(t)" if self.sums else "xs[i] == xs[j] for i, j in pairs[t]"
        head = "" if self.sums else f"    pairs = {[list(p) for p in self.pairs]}\n"
        return f"def f(xs):\n{head}    return [int(all({rule})) for t in range(len(xs))]\n"


CALLS = {"min": min, "max": max, "abs": abs, "int": int, "range": range, "len": len, "all": all}
METHODS = {"append", "count", "index"}
NODES = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.For, ast.Expr, ast.Return, ast.Name, ast.Load,
    ast.Store, ast.Constant, ast.Tuple, ast.List, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.UnaryOp,
    ast.USub, ast.BitXor, ast.BitAnd, ast.BitOr, ast.Compare, ast.Lt, ast.Gt, ast.Eq, ast.NotEq, ast.In, ast.IfExp, ast.Call,
    ast.Attribute, ast.Subscript, ast.Slice, ast.ListComp, ast.GeneratorExp, ast.comprehension, ast.BoolOp, ast.And, ast.Or,
    ast.Not, ast.LtE, ast.GtE,
)  # fmt: skip


def safe(source):
    """The function f that the text of a program defines.

    Raises:
        ValueError: if the text is anything but one plain function f of xs whose syntax tree is on the white list: no import,
            no attribute but append, count and index, no name with an underscore in front, no call but a few of numbers,
            no power, no long number.
    """

    def refuse(what):
        raise ValueError(f"source = {source[:200]!r}: expected a plain program, not {what}")

    if len(source) > 1_000_000:
        refuse("a text of more than a million characters")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        refuse(f"what Python cannot read ({error.__class__.__name__})")
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef) or tree.body[0].name != "f":
        refuse("other definitions than f")
    function = tree.body[0]
    args = function.args
    if (
        [a.arg for a in args.args] != ["xs"]
        or args.posonlyargs
        or args.kwonlyargs
        or args.vararg
        or args.kwarg
        or args.defaults
    ):
        refuse("other arguments than xs")
    if function.decorator_list or function.returns or getattr(function, "type_params", None) or args.args[0].annotation:
        refuse("a decorator or an annotation")
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, NODES):
            refuse(f"{type(node).__name__} in it")
        if isinstance(node, ast.FunctionDef) and node is not function:
            refuse("a function within")
        if isinstance(node, ast.Name) and node.id.startswith("_"):
            refuse(f"the name {node.id!r}")
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in (*CALLS, "f"):
            refuse(f"a new {node.id!r}")
        if isinstance(node, ast.Call):
            plain = (isinstance(node.func, ast.Name) and node.func.id in CALLS) or isinstance(node.func, ast.Attribute)
            if not plain or node.keywords:
                refuse("that call")
        if isinstance(node, ast.Attribute) and not (
            node.attr in METHODS and isinstance(node.value, (ast.Name, ast.Subscript)) and id(node) in called
        ):
            refuse(f"the attribute {node.attr!r}")
        if isinstance(node, ast.Constant) and (type(node.value) is not int or abs(node.value) > 10**6):
            refuse(f"the constant {str(node.value)[:20]!r}")
    scope = {"__builtins__": {}, **CALLS}
    exec(compile(tree, "<program>", "exec"), scope)
    return scope["f"]


def run_text(source: str, x: Int[np.ndarray, "sequences times inputs"]) -> Int[np.ndarray, "sequences times outputs"]:
    """Answers (N, T, outputs) of a program's text to x (N, T, inputs), through `safe`."""
    function = safe(source)
    rows = [function([v[0] for v in row] if len(row[0]) == 1 else [tuple(v) for v in row]) for row in np.asarray(x).tolist()]
    return np.array(rows).reshape(len(x), np.shape(x)[1], -1)
