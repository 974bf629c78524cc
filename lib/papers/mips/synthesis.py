"""From a network to a program: the affine road, the machine road, declared templates, and the table as a last resort."""

from dataclasses import dataclass

import numpy as np

from . import affine
from .labels import choices, predictions
from .machine import Machine, extract, minimal
from .programs import Program, Template, symbols
from .search import Bank

ROWS = 256  # cells of a machine's table that an expression is held against


@dataclass(frozen=True)
class Result:
    """What the pipeline makes of one network.

    Attributes:
        program: a `Program` or `Template`, or None.
        machine: the `Machine`, or None on the affine road.
        labels: what the program's variables mean: {variable: prediction}.
    """

    program: Program | Template | None
    machine: Machine | None
    labels: dict


def exact(program, x, y):
    """Whether a program answers y to x, first on a small part."""
    return all(np.array_equal(program(x[rows]), y[rows]) for rows in (slice(1024), slice(None)))


def affine_program(net, x, y):
    """The whole-number recurrence of an affine network, if there is one and it fits the data; else None."""
    M, o = affine.markov(net, x.shape[1])
    found = affine.recurrence(np.rint(M), np.rint(o))
    if found is None:
        return None
    program = affine.program(*found)
    return program if exact(program, x, y) else None


def _formula(machine, group, labels, task, rows):
    """A formula program over the labels in `group`, not yet tested; None if some table has no expression."""
    states, reads = rows
    names = "abc"[: len(group)]
    xs = symbols(task.inputs)
    numbers = dict.fromkeys([0, 1, 2, task.high, task.high + 1, -task.low, len(machine)])
    leaf = {n: labels[g][states] for n, g in zip(names, group, strict=True)}
    leaf |= {n: machine.symbols[reads, i] for i, n in enumerate(xs)} | {k: k for k in numbers if k >= 0}
    outputs = machine.answers.shape[2]
    ys = ["y"] if outputs == 1 else [f"y{o}" for o in range(outputs)]
    everything, sure = np.ones(len(states), bool), machine.sure[states, reads]
    after = machine.moves[states, reads]
    todo = {y: (machine.answers[states, reads, o], everything) for o, y in enumerate(ys)}
    todo |= {f"next_{n}": (labels[g][after], sure) for n, g in zip(names, group, strict=True)}
    steps = []
    while todo:
        bank, before = Bank(leaf, len(states)), len(steps)
        for name in list(todo):
            expression = bank.find(*todo[name])
            if expression is not None:
                steps.append((name, expression))
                values, known = todo.pop(name)
                if known.all():
                    leaf[name] = values
                    if not isinstance(expression, (str, int)):
                        break
        if len(steps) == before:
            return None
    start = {n: int(labels[g][0]) for n, g in zip(names, group, strict=True)}
    return Program("formula", xs, start, tuple(steps), tuple(ys))


def formula_program(net, machine, task, x, y, *, seed=0):
    """The shortest formula program that fits the data, over several choices of labels.

    Returns:
        The program and {variable: what it predicts}, or (None, {}).
    """
    labels = predictions(net, machine, task)
    cells = np.stack(np.divmod(np.arange(machine.moves.size), len(machine.symbols)))
    if cells.shape[1] > ROWS:
        cells = cells[:, np.sort(np.random.default_rng(seed).choice(cells.shape[1], ROWS, replace=False))]
    best, meaning = None, {}
    for tried, group in enumerate(choices(labels, len(machine)), 1):
        program = _formula(machine, group, labels, task, cells)
        if program is not None and exact(program, x, y) and (best is None or program.leaves < best.leaves):
            best, meaning = program, dict(zip("abc", group, strict=False))
        if best is not None and (best.leaves <= 10 or tried >= 6):
            break
    if best is None and len(machine) == 1 and task.inputs == 1 and set(np.unique(y)) <= {0, 1}:
        members = machine.symbols[machine.answers[0, :, 0] == 1, 0].tolist()
        program = Program("formula", ("x",), {}, (("y", ("in", "x", *members)),), ("y",))
        best = program if exact(program, x, y) else None
    return best, meaning


def template_program(answers, task, x):
    """The first declared template that gives the NETWORK's answers (N, T, outputs) on x, or None."""
    if task.inputs > 1 or task.low or answers.shape[2] > 1:
        return None
    forms = [Template("majority")]
    if set(np.unique(answers)) <= {0, 1}:
        equal = x[:, :, None, 0] == x[:, None, :, 0]
        always = [equal[answers[:, t, 0] == 1, : t + 1, : t + 1].all(0) for t in range(x.shape[1])]
        forms.append(
            Template("mirror", tuple(tuple((int(i), int(j)) for i, j in np.argwhere(np.triu(a, 1))) for a in always))
        )
    agree = lambda form: (form(x) == answers).all((1, 2)).mean() > 0.999  # noqa: E731  the network itself may err, rarely
    return next((form for form in forms if agree(form)), None)


def table_program(machine):
    """The machine itself as a program."""
    low, high = machine.symbols[0], machine.symbols[-1]
    xs, shape = symbols(len(low)), [len(machine), *(high - low + 1)]
    path = [n if not k else ("-", n, int(k)) for n, k in zip(xs, low, strict=True)]
    outputs = machine.answers.shape[2]
    ys = ["y"] if outputs == 1 else [f"y{o}" for o in range(outputs)]
    tables = {f"table_{y}": machine.answers[:, :, o].reshape(shape).tolist() for o, y in enumerate(ys)}
    tables["moves"] = machine.moves.reshape(shape).tolist()
    steps = [(y, ("at", f"table_{y}", "a", *path)) for y in ys] + [("next_a", ("at", "moves", "a", *path))]
    return Program("table", xs, {"a": 0}, tuple(steps), tuple(ys), tables)


def synthesise(net, task, x, y, *, templates=True, seed=0):
    """A program for one network.

    Args:
        net: a `networks.Network`.
        task: gives symbols and T.
        x, y: training sequences (N, T, inputs) and answers (N, T, outputs): programs that miss one are dropped.
        templates: whether the declared templates may be used.
        seed: of random questions.

    Returns:
        A `Result`.
    """
    if net.affine:
        program = affine_program(net, x, y)
        if program is not None:
            return Result(program, None, {})
    machine, error = extract(net, task, x, y, seed=seed)
    if machine is not None and error < 0.01:
        if error == 0:
            smaller = minimal(machine)
            machine = smaller if exact(smaller, x, y) else machine
        program, meaning = formula_program(net, machine, task, x, y, seed=seed)
        if program is not None:
            return Result(program, machine, meaning)
    template = template_program(net(x), task, x) if templates else None
    if template is not None and exact(template, x, y):
        return Result(template, machine, {})
    if machine is not None and error == 0:
        return Result(table_program(machine), machine, {})
    return Result(None, machine, {})
