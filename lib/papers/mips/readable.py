"""Programs as a person would write them: variables counted from a natural origin, and named after what becomes of them."""

from dataclasses import replace

from .expressions import is_bit, names, rename, simplify, terms
from .programs import Program


def _bits(program, inputs):
    """The names in a program that can only be 0 or 1, if the names in `inputs` can."""
    bits = {*inputs, *(name for name, value in program.start.items() if value in (0, 1))}
    while True:
        steps = {name for name, e in program.steps if is_bit(e, bits)}
        left = {n for n in bits if n in inputs or f"next_{n}" in steps} | steps
        if left == bits:
            return bits
        bits = left


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
        task: tells whether the symbols are bits.

    Returns:
        The program and what its variables mean now.
    """
    inputs, meaning = set(program.inputs) if {task.low, task.high} <= {0, 1} else set(), dict(meaning)
    for variable, first in program.start.items():
        numbers = {first, *(n for name, e in program.steps if variable in {name[5:], *names(e)} for n in _numbers(e))}
        ways = [(1, 0), *((sign, origin) for origin in sorted(numbers) for sign in (1, -1))]
        tried = [(_moved(program, variable, *way, inputs) if way != (1, 0) else program, way) for way in ways]
        program, (sign, origin) = min(tried, key=lambda pair: (pair[0].size, abs(pair[0].start[variable])))
        if (sign, origin) != (1, 0):
            told = f"{meaning[variable]}"
            meaning[variable] = f"{told}, minus {origin}" if sign == 1 else f"{origin} minus the {told}"
    return _shared(program), meaning


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


def named(program, meaning):
    """The program with names for its variables that say what becomes of them, where that can be told from the formula."""
    every, new = dict(program.steps), {}
    bits = {name for name, e in program.steps if is_bit(e, set())}
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
    if op in ("max", "min") and own:
        return "largest" if op == "max" else "smallest"
    if own and (op == "^" or (op == "not" and isinstance(whole[1], tuple) and whole[1][0] == "^")):
        return "parity"
    if op == "%" and own:
        return "total" if terms(args[0]).get(variable) == 1 else "remainder"
    if op in ("+", "-") and terms(update).get(variable) == 1:
        others = [e for e in terms(update) if e not in (variable, 1)]
        return "count" if all(is_bit(e, bits) for e in others) else "total"
    if op in (">", ">=", "//") and own and set(inputs) <= inside and len(inputs) > 1:
        return "carry"
    return None
