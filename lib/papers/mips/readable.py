"""Programs as a person would write them: variables counted from a natural origin, and named after what becomes of them."""

from dataclasses import replace

import numpy as np

from .expressions import OPPOSITE, evaluate, is_bit, names, rename, simplify, size, terms, total
from .programs import Program

GRID = 10_000  # combinations of values on which two expressions are compared, at most


def _bits(program, inputs):
    """The names in a program that can only be 0 or 1, if the names in `inputs` can."""
    bits = {*inputs, *(name for name, value in program.start.items() if value in (0, 1))}
    while True:
        steps = {name for name, e in program.steps if is_bit(e, bits)}
        left = {n for n in bits if n in inputs or f"next_{n}" in steps} | steps
        if left == bits:
            return bits
        bits = left


def flags(program, task):
    """The names of a program's symbols if, in the task, they can only be 0 or 1; else none."""
    return set(program.inputs) if {task.low, task.high} <= {0, 1} else set()


def _moved(program, variable, sign, origin, inputs):
    """The same program with `variable` replaced by sign · (variable - origin), for sign 1 or -1."""
    back = lambda name: ("+", name, origin) if sign == 1 else ("-", origin, name)  # noqa: E731
    new, after = {variable: back(variable)}, f"next_{variable}"
    steps = [(name, rename(e, new | {after: back(after)} if name != after else new)) for name, e in program.steps]
    steps = [(n, (("-", e, origin) if sign == 1 else ("-", origin, e)) if n == after else e) for n, e in steps]
    start = program.start | {variable: sign * (program.start[variable] - origin)}
    moved = replace(program, start=start, steps=tuple(steps))
    bits = _bits(moved, inputs)
    return replace(moved, steps=tuple((name, simplify(e, bits)) for name, e in steps))


def tidy(program, meaning, task):
    """The program with each variable counted from where, and in the direction in which, there is least to read.

    Args:
        program: a formula `Program`.
        meaning: {variable: what it predicts}.
        task: tells what the symbols are.

    Returns:
        The program and what its variables mean now.
    """
    inputs, meaning = flags(program, task), dict(meaning)
    for variable, first in program.start.items():
        numbers = {first, *(n for name, e in program.steps if variable in {name[5:], *names(e)} for n in _numbers(e))}
        ways = [(1, 0), *((sign, origin) for origin in sorted(numbers) for sign in (1, -1))]
        tried = [(_moved(program, variable, *way, inputs) if way != (1, 0) else program, way) for way in ways]
        written = [(_written(moved, task, inputs), moved, way) for moved, way in tried]
        _, program, (sign, origin) = min(written, key=lambda each: (each[0].size, abs(each[1].start[variable])))
        if (sign, origin) != (1, 0):
            told = f"{meaning[variable]}"
            meaning[variable] = f"{told}, minus {origin}" if sign == 1 else f"{origin} minus the {told}"
    return _written(program, task, inputs), meaning


def _written(program, task, inputs):
    """The program with its expressions in the form, of a few, in which there is least to read."""
    bits = _bits(program, inputs)
    program = min(program, _afterwards(program, bits), key=lambda p: p.size)
    program = _divided(_quotients(program, task, bits))
    steps = [(name, min(e, _chosen(e, bits), key=size)) for name, e in program.steps]
    return _shared(replace(program, steps=tuple(steps)))


def _quotients(program, task, bits):
    """An answer is the quotient by k of a sum whose remainder by k is kept, where it has its values."""
    kept = [(name[5:], e) for name, e in program.steps if isinstance(e, tuple) and e[0] == "%" and isinstance(e[2], int)]
    reach = dict.fromkeys(bits, range(2)) | dict.fromkeys(program.inputs, range(task.low, task.high + 1))
    reach |= {n: range(e[2]) for n, e in kept if program.start.get(n, -1) in range(e[2])}
    answers = {name: e for name, e in program.steps if name in program.outputs and names(e) & {*program.start}}
    for _, (_, e, k) in kept:
        whole = ("//", total({f: c % k for f, c in terms(e).items()}), k)
        answers = {name: whole if _alike(old, whole, reach) else old for name, old in answers.items()}
    return replace(program, steps=tuple((name, answers.get(name, e)) for name, e in program.steps))


def _alike(one, other, reach):
    """Whether two expressions agree wherever the names in them have values in `reach`, if these are few."""
    inside = sorted(names(one) | names(other))
    if any(n not in reach for n in inside) or np.prod([len(reach[n]) for n in inside]) > GRID:
        return False
    values = dict(zip(inside, np.meshgrid(*(reach[n] for n in inside)), strict=True))
    return np.array_equal(evaluate(one, values), evaluate(other, values))


def _divided(program):
    """Where the quotient of a sum by k is taken, a remainder by k is that of the same sum."""
    sums = [(e[1], e[2]) for _, e in program.steps if isinstance(e, tuple) and e[0] == "//"]
    steps = []
    for name, e in program.steps:
        for whole, k in sums:
            if isinstance(e, tuple) and e[0] == "%" and e[2] == k:
                gap = terms(("-", whole, e[1]))
                e = ("%", whole, k) if all(c % k == 0 for c in gap.values()) else e
        steps.append((name, e))
    return replace(program, steps=tuple(steps))


def _afterwards(program, bits):
    """A comparison that answers is one of a variable's next value with a number, where it can be."""
    after = [(n, e) for n, e in program.steps if n not in program.outputs and isinstance(e, tuple) and len(names(e)) > 1]
    answers = {name: e for name, e in program.steps if name in program.outputs}
    for update in after:
        answers = {name: _compared(e, *update, bits) for name, e in answers.items()}
    old = {*program.start, *program.inputs}
    if any(names(e) & old for e in answers.values()) or any(names(e) & {*answers} for _, e in after):
        return program
    return replace(program, steps=(*[pair for pair in program.steps if pair[0] not in answers], *answers.items()))


def _compared(expression, later, update, bits):
    """A comparison as one of `later`, which becomes `update`, with a number; what is none stays as it is."""
    if not isinstance(expression, tuple) or expression[0] not in OPPOSITE:
        return expression
    gap = terms(("-", expression[1], expression[2]))
    for sign in (1, -1):
        left = terms(("-", total(gap), total({f: sign * c for f, c in terms(update).items()})))
        if {f for f, c in left.items() if c} <= {1}:
            return simplify((expression[0], ("+", total({later: sign}), left.get(1, 0)), 0), bits)
    return expression


def _chosen(expression, bits):
    """A choice in place of a sum that uses the truth of a comparison as a number: what it is if true, and if not."""
    best = expression
    if isinstance(expression, tuple) and expression[0] in ("+", "-"):
        for guard in _comparisons(expression):
            yes, no = (simplify(_replaced(expression, guard, value), bits) for value in (1, 0))
            best = min(best, simplify(("if", guard, yes, no), bits), key=size)
    return best


def _comparisons(expression):
    """The comparisons in an expression."""
    if not isinstance(expression, tuple):
        return []
    return [expression] * (expression[0] in OPPOSITE) + [c for e in expression[1:] for c in _comparisons(e)]


def _shared(program):
    """The program with each answer named where a later step repeats its expression."""
    steps = list(program.steps)
    for i, (name, answer) in enumerate(steps):
        if name in program.outputs and isinstance(answer, tuple):
            steps[i + 1 :] = [(later, _replaced(e, answer, name)) for later, e in steps[i + 1 :]]
    return replace(program, steps=tuple(steps))


def _replaced(expression, part, name):
    """The expression with `name` wherever `part` stood."""
    if expression == part:
        return name
    return (
        (expression[0], *(_replaced(e, part, name) for e in expression[1:])) if isinstance(expression, tuple) else expression
    )


def _numbers(expression):
    """The numbers in an expression."""
    if isinstance(expression, tuple):
        return set().union(*map(_numbers, expression[1:]))
    return set() if isinstance(expression, str) else {int(expression)}


def named(program, meaning, inputs=frozenset()):
    """The program with names for its variables that say what becomes of them, where that can be told from the formula.

    Args:
        program: a `Program` without a table.
        meaning: {variable: what it predicts}.
        inputs: names of the symbols that can only be 0 or 1.
    """
    every, new = dict(program.steps), {}
    bits = _bits(program, inputs)
    answers = {name: every[name] for name in program.outputs}
    updates = {variable: every[f"next_{variable}"] for variable in program.start}
    last, back = next((v for v, update in updates.items() if update in program.inputs), None), 1
    while last is not None and last not in new:  # what was read last, what was read before that, and so on
        new[last] = "previous" if back == 1 else f"previous_{back}"
        last, back = next((v for v, update in updates.items() if update == last), None), back + 1
    for variable in [v for v in program.start if v not in new]:
        update = updates[variable]
        word = _word(variable, answers.get(update, update), program.inputs, bits, answers)
        taken = {*new.values(), *program.inputs, *program.outputs}
        new[variable] = variable if word in taken or not word else word
    words = new | {f"next_{old}": f"next_{word}" for old, word in new.items()}
    steps = tuple((words.get(name, name), rename(e, words)) for name, e in program.steps)
    start = {new[name]: value for name, value in program.start.items()}
    renamed = Program(program.kind, program.inputs, start, steps, program.outputs, program.tables)
    return renamed, {new[name]: text for name, text in meaning.items()}


def _word(variable, update, inputs, bits, answers):
    """A name for a variable from what it becomes, or None."""
    if not isinstance(update, tuple):
        return None
    op, *args = update
    whole = rename(update, answers)
    inside = names(whole)
    own = variable in inside
    if inside <= set(inputs):
        return "previous"
    if op == "if":  # what it becomes where it changes
        return _word(variable, args[2] if args[1] == variable else args[1], inputs, bits, answers)
    if op in ("max", "min") and own:
        return "largest" if op == "max" else "smallest"
    if own and (op == "^" or (op == "not" and isinstance(whole[1], tuple) and whole[1][0] == "^")):
        return "parity"
    if op == "%" and own:
        return "total" if terms(args[0]).get(variable) == 1 else "remainder"
    if op in ("+", "-") and terms(update).get(variable) == 1:
        others = {e: k for e, k in terms(update).items() if e != variable}
        if not all(e == 1 or is_bit(e, bits) for e in others):
            return "total"
        steps = [sum(min(0, k) for e, k in others.items() if e != 1), sum(max(0, k) for e, k in others.items() if e != 1)]
        return "balance" if steps[0] + others.get(1, 0) < 0 < steps[1] + others.get(1, 0) else "count"
    if op in (">", ">=", "//") and own and set(inputs) <= inside and len(inputs) > 1:
        return "carry"
    return "flag" if is_bit(whole, bits) else None
