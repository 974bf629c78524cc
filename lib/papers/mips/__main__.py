"""Programs from networks, from the command line.

    python -m lib.papers.mips solve mytask.py --high 9 --out found     train a network on the function `task`, and read it
    python -m lib.papers.mips read weights.pt --arch rnn-tanh --out found     read a network trained elsewhere
    python -m lib.papers.mips board Div_3 Div_5     tasks of the benchmark

`mytask.py` defines `task`, a function from a list of symbols (of pairs, with --inputs 2) to the list of answers. Weights are
a state dictionary in a .npz, .pt or .safetensors file: of a `torch.nn.RNN` and the linear layers after it, or of two
multilayer perceptrons f and g. In the folder --out lie program.py, which runs by itself and tests itself, machine.svg (where
the program was read from a finite machine) and report.json.
"""

import argparse
import json
import runpy
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .picture import svg
from .scoreboard import read, solve
from .tasks import TASKS, Task, of_lists
from .training import LADDER, Trained, learn
from .weights import ARCHITECTURES, load, network

EXAMPLES = 20  # that a program's file tests itself on, at most
COMPARED = ("program_network", "network_truth", "program_truth")  # in a `Row`


def task_of(path, **size):
    """The `Task` of the function `task` in a file of Python.

    Raises:
        ValueError: if the file cannot be run or has no such function.
    """
    try:
        found = runpy.run_path(str(path))
    except OSError:
        raise
    except Exception as error:  # whatever a stranger's file raises
        raise ValueError(f"file = {str(path)!r}: {type(error).__name__}: {error}") from error
    if "task" not in found:
        raise ValueError(f"file = {str(path)!r}: expected a function named task in it")
    return Task(path.stem, of_lists(found["task"]), **size)


def told(row, names):
    """What a `Row` says of each pair in `names` that was compared, a line each."""
    pairs = [(name, getattr(row, name)) for name in names]
    return [f"{name.replace('_', ' against ')}: {pair} sequences differ" for name, pair in pairs if pair]


def source(row, names, seed):
    """A program as a file of Python that tests itself, when it is run, on sequences that its network answers as it does."""
    x, _ = row.task.sample(EXAMPLES, [seed, 11])
    y = row.trained.net(x)
    alike = (row.result.program(x) == y).all((1, 2))
    plain = lambda rows: [[v[0] if len(v) == 1 else tuple(v) for v in row] for row in rows.tolist()]  # noqa: E731
    meaning = "".join(f"# {name}: {what}\n" for name, what in row.result.labels.items())
    pairs = "".join(f"    ({xs}, {ys}),\n" for xs, ys in zip(plain(x[alike]), plain(y[alike]), strict=True))
    head = "\n".join([f"{row.task.name}: a program read from a recurrent network.", "", *told(row, names)])
    return (
        f'"""{head}\n"""\n\n{meaning}\n{row.text}\n\n'
        f"EXAMPLES = [  # symbols, answers of the network\n{pairs}]\n\n"
        'if __name__ == "__main__":\n    for xs, ys in EXAMPLES:\n        assert f(xs) == ys, (xs, f(xs), ys)\n'
        '    print(f"{len(EXAMPLES)} examples are right")\n'
    )


def report(row, out, seed, names):
    """Print what was found, write it to the folder `out` if there is one; 0 if there is a program, else 1."""
    machine, program = row.result.machine, row.result.program
    found = {"task": row.task.name, "kind": program.kind if program else "none", "reason": row.reason, "program": row.text}
    found |= {name: asdict(c) | {"share below": c.bound} for name in names if (c := getattr(row, name))}
    found |= {"proved": row.proved, "states": 0 if machine is None else len(machine), "labels": row.result.labels}
    if machine is not None:
        found |= {"machine": {part: getattr(machine, part).tolist() for part in ("symbols", "moves", "answers")}}
    print(
        "\n".join([row.text or f"no program: {row.result.reason}", *told(row, names), *([row.reason] if row.reason else [])])
    )
    if out:
        out.mkdir(parents=True, exist_ok=True)
        files = {"report.json": json.dumps(found) + "\n"}
        files |= {"program.py": source(row, names, seed)} if program else {}
        files |= {"machine.svg": svg(machine)} if machine is not None else {}
        for name, content in files.items():
            (out / name).write_text(content, encoding="utf-8")
        print(f"{', '.join(files)} are in {out}")
    return 0 if program else 1


def board(tasks, seed):
    """One line for each task: the kind of its program, or why there is none."""
    for name in tasks:
        if name not in TASKS:
            raise ValueError(f"task = {name!r}: expected one of {', '.join(TASKS)}")
    for name in tqdm(tasks, desc="tasks", disable=len(tasks) == 1):
        row = solve(TASKS[name], seed=seed)
        tqdm.write(f"{name:24} {row.kind:8} proved {row.proved:8} {row.reason or row.program_truth}", file=sys.stdout)
    return 0


def parser():
    """The command line."""
    whole = argparse.ArgumentParser(
        "python -m lib.papers.mips", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True)
    one, weights, many = (commands.add_parser(name) for name in ("solve", "read", "board"))
    one.add_argument("file", type=Path, help="Python that defines the function task")
    weights.add_argument("file", type=Path, help="a state dictionary: .npz, .pt or .safetensors")
    weights.add_argument("--arch", choices=ARCHITECTURES, required=True)
    weights.add_argument("--one-hot", action="store_true", help="symbols go in as one-hot vectors")
    many.add_argument("tasks", nargs="*", default=list(TASKS), metavar="task")
    for command in (one, weights):
        command.add_argument("--low", type=int, default=0, help="smallest symbol (0)")
        command.add_argument("--high", type=int, default=1, help="largest symbol (1)")
        command.add_argument("--inputs", type=int, default=1, help="symbols a step, 1 or 2 (1)")
        command.add_argument("--length", type=int, default=10, help="steps of a sequence (10)")
        command.add_argument("--out", type=Path, help="folder for program.py, machine.svg and report.json")
    for command in (one, weights, many):
        command.add_argument("--seed", type=int, default=0)
    return whole


def main(arguments=None):
    """Run the tool; returns the exit status: 0 with a program, 1 without, 2 for input that it cannot use."""
    options = parser().parse_args(arguments)
    seed = options.seed
    try:
        if options.command == "board":
            return board(options.tasks, seed)
        size = {"low": options.low, "high": options.high, "inputs": options.inputs, "T": options.length}
        if options.command == "solve":
            task = task_of(options.file, **size)
            rungs = lambda ladder: tqdm(ladder, desc="shapes of networks", total=len(LADDER))  # noqa: E731
            trained, names = learn(task, seed=seed, progress=rungs), COMPARED
        else:
            net = network(
                load(options.file), options.arch, alphabet=(options.low, options.high) if options.one_hot else None
            )
            width, given = net.transition[0][0].shape[1] - net.size, net.encode(np.full(options.inputs, options.low)).size
            if width != given:
                raise ValueError(f"inputs = {options.inputs}: give {given} numbers, expected the network's {width}")
            task, trained, names = Task(options.file.stem, net, **size), Trained(net, 0.0), COMPARED[:1]  # its own truth
        print("reading the network", file=sys.stderr)
        return report(read(task, trained, seed=seed), options.out, seed, names)
    except (ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
