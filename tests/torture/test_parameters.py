"""Mutated parameters of every chapter at smoke scale: a clear error or a valid run, never a hang or a traceback of torch."""

import copy
import random
import re

import jupytext
import nbformat
import papermill
import pytest
from conftest import CHAPTERS, FULL, ROOT, TORTURE

from lib.reading.verdicts import read
from lib.scales import at_scale

SETS = 20 if FULL else 3  # of each chapter
RUNS = CHAPTERS if FULL else ["disempowerment"]  # chapters in which those that are not refused run
SECONDS = 300  # for a cell of a smoke run, on a busy machine too
CLEAR = re.compile(r": expected ")


def mutants(value, kind, chance):
    """A value near `value`, or of another kind: wrong, at an edge, or merely unusual."""
    wrong = ["no such thing", None, [], {"a": 1}, True, float("nan"), float("inf")]
    if chance.random() < 0.25:
        return chance.choice(wrong)
    if kind.startswith("list"):
        items = list(value)
        one = chance.randrange(len(items))
        spoiled = [*items[:one], mutants(items[one], kind[5:-1], chance), *items[one + 1 :]]
        return chance.choice([items[:1], items[::-1], items + items, items[:2], items[0], spoiled, spoiled])
    if kind == "int":
        return chance.choice([-1, 0, 1, 2, 3, 5, value // 2, value + 1, value - 1, float(value), str(value), 0.5])
    if kind == "float":
        return chance.choice([0.0, -value, value / 10, value * 3, 1e-30, 1e30, 1, str(value)])
    if kind == "bool":
        return chance.choice([not value, 1, "yes"])
    return chance.choice([value.upper(), value + " ", "", value])


def mutated(chapter):
    """The chapter as a notebook, and `SETS` sets of parameters: those of smoke scale with one or two mutated."""
    notebook = nbformat.v4.upgrade(jupytext.read(ROOT / f"book/{chapter}.md"))
    known = papermill.inspect_notebook(notebook)
    space = {}
    exec(next(cell.source for cell in notebook.cells if cell.cell_type == "code"), space)
    smoke = at_scale("smoke", chapter)
    chance = random.Random(f"{TORTURE} {chapter}")
    names = [name for name in known if name not in ("scale", "device")]
    sets = []
    for _ in range(SETS):
        values = dict(smoke)
        for name in chance.sample(names, chance.choice([1, 1, 2])):
            values[name] = mutants(copy.copy(values.get(name, space[name])), known[name]["inferred_type_name"], chance)
        sets.append(values)
    return notebook, sets


def refusal(notebook, values):
    """What the first cells, the defaults and their checks, say of the values; None if they pass."""
    defaults, checks = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    space = {}
    exec(defaults, space)
    space.update(copy.deepcopy(values), In=["", defaults, "# Parameters\n" + "\n".join(f"{name} = 0" for name in values)])
    try:
        exec(checks, space)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_mutated_parameters(chapter, tmp_path):
    notebook, sets = mutated(chapter)
    faults, refused = [], 0
    for values in sets:
        changes = {name: value for name, value in values.items() if value != at_scale("smoke", chapter).get(name)}
        said = refusal(notebook, values)
        if said is not None:
            refused += 1
            if not CLEAR.search(said):
                faults.append(f"{changes}: {said}")
        elif chapter in RUNS:
            try:
                quiet = {"cwd": ROOT / "book", "progress_bar": False, "execution_timeout": SECONDS}
                papermill.execute_notebook(notebook, tmp_path / "out.ipynb", values, **quiet)
            except papermill.PapermillExecutionError as error:
                if not (error.ename == "ValueError" and CLEAR.search(error.evalue)):
                    faults.append(f"{changes}: {error.ename}: {error.evalue}")
            except Exception as error:  # a cell that takes too long
                faults.append(f"{changes}: {type(error).__name__}: {str(error)[:200]}")
            else:
                if not read(tmp_path / "out.ipynb"):
                    faults.append(f"{changes}: ran without a claim")
    print(f"{chapter}: {len(sets)} sets, {refused} refused before any work, {len(faults)} faults")
    assert not faults, "\n".join(faults)
