"""From a network to a program that says what the network does: affine road, machine road, declared templates, a table.

Only the network is read: programs are chosen by how well they agree with its answers. Whether these are right is another
question, which `scoreboard` asks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from . import affine
from .expressions import simplify
from .labels import choices, predictions
from .machine import Machine, extract, minimal
from .networks import Network
from .programs import Program, Template, symbols
from .readable import flags, named, tidy
from .search import Bank
from .tasks import Task, wrong

SEEN = 16384  # sequences on which a network is read
ROWS = 256  # cells of a machine's table that an expression is held against
LOOSE = 1e-3  # share of sequences on which a program may differ from its network and still be a reading of it
GROUPS = 6  # sets of labels that are tried once there is a program
SHORT = 8  # size of a program that is good enough


@dataclass(frozen=True)
class Result:
    """What the pipeline makes of one network.

    Attributes:
        program: a `Program` or `Template`, or None.
        machine: the `Machine`, or None on the affine road.
        labels: what the program's variables mean: {variable: prediction}.
        differs: share of the sequences read on which the program does not say what the network says; 1 without a program.
        reason: why there is no program; empty if there is one.
    """

    program: Program | Template | None
    machine: Machine | None = None
    labels: dict = field(default_factory=dict)
    differs: float = 0.0
    reason: str = ""


def differs(
    program: Callable, x: Int[np.ndarray, "sequences times inputs"], answers: Int[np.ndarray, "sequences times outputs"]
) -> float:
    """Share of the sequences x (N, T, inputs) on which a program does not give `answers` (N, T, o); 1 if already many of the
    first 1024."""
    if wrong(program, x[:1024], answers[:1024]).mean() > 0.1:
        return 1.0
    return float(wrong(program, x, answers).mean())


def affine_program(
    net: Network, x: Int[np.ndarray, "sequences times inputs"], answers: Int[np.ndarray, "sequences times outputs"]
) -> Program | None:
    """The whole-number recurrence of an affine network, if there is one that answers as the network does; else None."""
    M, o = affine.markov(net, x.shape[1])
    found = affine.recurrence(np.rint(M), np.rint(o))
    program = found and affine.program(*found)
    if program is None or differs(program, x, answers) > LOOSE:
        return None
    return named(program, {})[0] if len(program.start) == 1 else program


def _formula(machine, group, labels, task, cells):
    """A formula program over the labels in `group`, not yet tested; None if some table has no expression."""
    states, reads = cells
    variables, xs = tuple("abc"[: len(group)]), symbols(task.inputs)
    numbers = dict.fromkeys([0, 1, 2, task.high, task.high + 1, -task.low, len(machine)])
    leaf = {n: labels[g][states] for n, g in zip(variables, group, strict=True)}
    leaf |= {n: machine.symbols[reads, i] for i, n in enumerate(xs)} | {k: k for k in numbers if k >= 0}
    ys = ["y"] if machine.answers.shape[2] == 1 else [f"y{o}" for o in range(machine.answers.shape[2])]
    after, everything = machine.moves[states, reads], np.ones(len(states), bool)
    todo = {y: (machine.answers[states, reads, o], everything) for o, y in enumerate(ys)}
    todo |= {f"next_{n}": (labels[g][after], machine.sure[states, reads]) for n, g in zip(variables, group, strict=True)}
    bits = {n for n, v in leaf.items() if isinstance(n, str) and np.isin(v, (0, 1)).all()}
    bits |= {n for n, (v, sure) in todo.items() if np.isin(v[sure], (0, 1)).all()}
    steps = []
    while todo:
        bank, found = Bank(leaf, len(states)), {}
        for name, (values, known) in todo.items():
            if (expression := bank.find(values, known, bits)) is not None:
                found[name] = expression
        if not found:
            return None
        for name, expression in found.items():  # what is left may read it
            values, known = todo.pop(name)
            leaf |= {name: values} if known.all() else {}
            twin = next((other for other, e in steps if e == expression and isinstance(e, tuple)), expression)
            steps.append((name, twin))
    start = {n: int(labels[g][0]) for n, g in zip(variables, group, strict=True)}
    return Program("formula", xs, start, tuple(steps), tuple(ys))


def formula_program(net, machine, task, x, answers, *, seed=0):
    """The formula program closest to the network's answers, over several choices of labels; of equals the shortest.

    Returns:
        The program and {variable: what it predicts}; (None, {}) if none comes closer than `LOOSE`.
    """
    labels = predictions(net, machine, task)
    cells = np.stack(np.divmod(np.arange(machine.moves.size), len(machine.symbols)))
    if cells.shape[1] > ROWS:
        cells = cells[:, np.sort(np.random.default_rng(seed).choice(cells.shape[1], ROWS, replace=False))]
    best, meaning, key = None, {}, (LOOSE, np.inf)
    for tried, group in enumerate(choices(labels, len(machine)), 1):
        program = _formula(machine, group, labels, task, cells)
        if program is None:
            continue
        program, told = tidy(program, dict(zip("abc", group, strict=False)), task)
        if (found := (differs(program, x, answers), program.size)) < key:
            best, meaning, key = program, told, found
        if best is not None and ((key[0] == 0 and key[1] <= SHORT) or tried >= GROUPS):
            break
    if best is None and len(machine) == 1 and task.inputs == 1 and set(np.unique(answers)) <= {0, 1}:
        members = machine.symbols[machine.answers[0, :, 0] == 1, 0].tolist()
        best = Program("table", ("x",), {}, (("y", ("in", "x", *members)),), ("y",))
        best = best if differs(best, x, answers) <= LOOSE else None
    return named(best, meaning, flags(best, task)) if best else (None, {})


def template_program(
    answers: Int[np.ndarray, "sequences times outputs"], task: Task, x: Int[np.ndarray, "sequences times inputs"]
) -> Template | None:
    """The first declared template that gives a network's answers (N, T, outputs) on x, or None."""
    if task.inputs > 1 or task.low or answers.shape[2] > 1:
        return None
    forms = [Template("majority")]
    if set(np.unique(answers)) <= {0, 1}:
        equal = x[:, :, None, 0] == x[:, None, :, 0]
        always = [equal[answers[:, t, 0] == 1, : t + 1, : t + 1].all(0) for t in range(x.shape[1])]
        forms.append(
            Template("mirror", tuple(tuple((int(i), int(j)) for i, j in np.argwhere(np.triu(a, 1))) for a in always))
        )
    return next((form for form in forms if differs(form, x, answers) <= LOOSE), None)


def table_program(machine: Machine) -> Program:
    """The machine itself as a program."""
    low, high = machine.symbols[0], machine.symbols[-1]
    xs, shape = symbols(len(low)), [len(machine), *(high - low + 1)]
    path = [simplify(("-", n, int(k))) for n, k in zip(xs, low, strict=True)]
    outputs = machine.answers.shape[2]
    ys = ["y"] if outputs == 1 else [f"y{o}" for o in range(outputs)]
    tables = {f"table_{y}": machine.answers[:, :, o].reshape(shape).tolist() for o, y in enumerate(ys)}
    tables["moves"] = machine.moves.reshape(shape).tolist()
    steps = [(y, ("at", f"table_{y}", "a", *path)) for y in ys] + [("next_a", ("at", "moves", "a", *path))]
    return Program("table", xs, {"a": 0}, tuple(steps), tuple(ys), tables)


def synthesise(
    net: Network, task: Task, x: Int[np.ndarray, "sequences times inputs"], *, templates: bool = True, seed: int = 0
) -> Result:
    """A program for one network.

    Args:
        net: a `networks.Network`.
        task: gives symbols and T; its answers are not used.
        x: sequences (N, T, inputs): a program is a reading if it answers them as the network does, but for a share `LOOSE`.
        templates: whether the declared templates may be used.
        seed: of random questions.

    Returns:
        A `Result`.
    """
    answers = net(x)
    if net.affine and (program := affine_program(net, x, answers)) is not None:
        return Result(program, differs=differs(program, x, answers))
    machine, share = extract(net, task, x, answers, seed=seed)
    candidates = []
    if machine is not None and share <= 10 * LOOSE:
        if share == 0 and differs(minimal(machine), x, answers) == 0:
            machine = minimal(machine)
        candidates.append(formula_program(net, machine, task, x, answers, seed=seed))
    if templates and not (candidates and candidates[0][0]):
        candidates.append((template_program(answers, task, x), {}))
    if machine is not None and share == 0:
        candidates.append((table_program(machine), {}))
    for program, meaning in candidates:
        if program is not None:
            return Result(program, machine, meaning, differs(program, x, answers))
    if machine is None:
        reason = "too many behaviours: hidden states that answer differently"
    elif share > 10 * LOOSE:
        reason = f"the machine of {len(machine)} states differs from the network in {share:.2%} of the answers"
    else:
        reason = f"no short expression for the machine of {len(machine)} states"
    return Result(None, machine, differs=1.0, reason=reason)
