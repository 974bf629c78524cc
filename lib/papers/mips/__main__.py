"""Programs from networks, from the command line.

    python -m lib.papers.mips solve mytask.py --high 9 --out found     train a network on the function `task`, and read it
    python -m lib.papers.mips read weights.pt --arch rnn-tanh --out found     read a network trained elsewhere
    python -m lib.papers.mips board Div_3 Div_5     tasks of the benchmark

`mytask.py` defines `task`, a function from a list of symbols (of pairs, with --inputs 2) to the list of answers. In the
folder --out lie program.py, which runs by itself and tests itself, machine.dot (for Graphviz) and report.json.
"""

import argparse
import json
import runpy
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from .scoreboard import judge, read, solve
from .synthesis import SEEN, synthesise
from .tasks import TASKS, Task, of_lists
from .training import LADDER, Trained, learn
from .weights import ARCHITECTURES, load, network

EXAMPLES = 20  # that a program's file tests itself on


def dot(machine):
    """A `Machine` as a graph for Graphviz: arrows from state to state, marked symbol / answer."""
    lines = ["digraph machine {", "  rankdir=LR;", "  0 [penwidth=2];"]
    for s in range(len(machine)):
        for k, symbol in enumerate(machine.symbols):
            said = ",".join(map(str, machine.answers[s, k]))
            lines.append(f'  {s} -> {machine.moves[s, k]} [label="{",".join(map(str, symbol))} / {said}"];')
    return "\n".join([*lines, "}", ""])


def source(row, seed):
    """A program as a file of Python that tests itself on answers of its network when it is run."""
    x, _ = row.task.sample(EXAMPLES, [seed, 11])
    y = row.result.program(x)
    plain = lambda rows: [[v[0] if len(v) == 1 else tuple(v) for v in row] for row in rows.tolist()]  # noqa: E731
    meaning = "".join(f"# {name}: {what}\n" for name, what in row.result.labels.items())
    return (
        f'"""{row.task.name}: a program read from a recurrent network."""\n\n{meaning}\n{row.text}\n\n'
        f"EXAMPLES = {list(zip(plain(x), plain(y), strict=True))}\n\n"
        'if __name__ == "__main__":\n    for xs, ys in EXAMPLES:\n        assert f(xs) == ys, (xs, f(xs), ys)\n'
        '    print(f"{len(EXAMPLES)} examples are right")\n'
    )


def report(row, out, seed, truth):
    """Print what was found, write it to the folder `out` if there is one; 0 if there is a program, else 1."""
    names = ("program_network", "network_truth", "program_truth") if truth else ("program_network",)
    compared = {name: getattr(row, name) for name in names if getattr(row, name)}
    found = {"task": row.task.name, "kind": row.result.program.kind if row.result.program else "none", "reason": row.reason}
    found |= {name: asdict(c) | {"share below": c.bound} for name, c in compared.items()}
    found |= {"proved": row.proved, "states": len(row.result.machine or []), "labels": row.result.labels}
    print(row.text or f"no program: {row.result.reason}")
    for name, comparison in compared.items():
        print(f"{name.replace('_', ' against ')}: {comparison} sequences differ")
    if row.reason:
        print(row.reason)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if row.result.program:
            (out / "program.py").write_text(source(row, seed), encoding="utf-8")
        if row.result.machine is not None:
            (out / "machine.dot").write_text(dot(row.result.machine), encoding="utf-8")
    return 0 if row.result.program else 1


def main(arguments=None):
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m lib.papers.mips", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one, weights, board = (commands.add_parser(name) for name in ("solve", "read", "board"))
    one.add_argument("file", type=Path)
    weights.add_argument("file", type=Path)
    weights.add_argument("--arch", choices=ARCHITECTURES, required=True)
    weights.add_argument("--one-hot", action="store_true", help="symbols go in as one-hot vectors")
    board.add_argument("tasks", nargs="*", default=list(TASKS), metavar="task")
    for command in (one, weights):
        command.add_argument("--low", type=int, default=0, help="smallest symbol")
        command.add_argument("--high", type=int, default=1, help="largest symbol")
        command.add_argument("--inputs", type=int, default=1, help="symbols a step")
        command.add_argument("--length", type=int, default=10, help="steps of a sequence")
        command.add_argument("--out", type=Path, help="folder for program.py, machine.dot and report.json")
    for command in (one, weights, board):
        command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    seed = options.seed
    try:
        if options.command == "board":
            for name in options.tasks:
                row = solve(TASKS[name], seed=seed)
                print(f"{name:24} {row.kind:8} proved {row.proved:8} {row.program_truth or row.reason}", flush=True)
            return 0
        size = {"low": options.low, "high": options.high, "inputs": options.inputs, "T": options.length}
        if options.command == "solve":
            task = Task(options.file.stem, of_lists(runpy.run_path(str(options.file))["task"]), **size)
            trained = learn(
                task, seed=seed, progress=lambda rungs: tqdm(rungs, desc="shapes of networks", total=len(LADDER))
            )
            return report(read(task, trained, seed=seed), options.out, seed, truth=True)
        net = network(load(options.file), options.arch, alphabet=(options.low, options.high) if options.one_hot else None)
        task = Task(options.file.stem, net, **size)  # the network itself is the truth
        result = synthesise(net, task, task.sample(SEEN, [seed, 0, 1])[0], seed=seed)
        return report(judge(task, Trained(net, 0.0), result, fresh=20000, seed=seed), options.out, seed, truth=False)
    except (ValueError, KeyError, OSError) as error:
        print(f"{error.__class__.__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
