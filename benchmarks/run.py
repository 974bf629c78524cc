"""Times every implementation on every shape and writes benchmarks/results/<device>.json: `python -m benchmarks.run`.

Everything runs on one core, so that CPU seconds mean work and not threads waiting for each other on a busy machine; members
are independent, so more cores share them. Repeats of all implementations are interleaved, so that a busy machine slows all
alike; medians are kept. What is too large or too slow is left out and named under "skipped", never extrapolated: a
row says how many networks and how many steps were timed.
"""

import datetime
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch

from . import machine
from .peers import PEERS
from .problems import PROBLEMS

MEMBERS = (256, 1, 16, 4096)
REPEATS = 5
BUDGET = 480  # wall seconds; what has not begun by then is skipped
COMPILED = {(256, "1-32-1, 128 points"), (256, "1-50-50-50-1, 128 points")}
LOOP_NETS = 8  # the plain loop costs the same for every network, so no more than these are timed


def plan(problem, members, peer):
    """Networks and steps to time, or a text that says why not."""
    if peer == "compile" and (members, problem.shape) not in COMPILED:
        return "torch.compile was timed on two shapes only: each costs it up to a minute"
    hidden = sum(problem.sizes[1:-1]) + sum(problem.readout[1:-1])
    if peer in ("vmap", "compile") and 24 * members * hidden * problem.points * problem.length > 4e9:
        return "needs more than 4 GB"
    work = (problem.products() + problem.elementwise()) / 2e10  # seconds a net-step, roughly
    if peer in ("ours", "jax"):
        return members, min(2000, max(4, int(0.15 / work / members)))
    if peer == "loop":
        return min(members, LOOP_NETS), 8
    return members, min(20, max(1, int(0.02 / work / members)))


def measure(problem, members, deadline):
    """Rows of one shape at one number of members, and what was skipped."""
    rows, skipped, runs = [], [], {}
    for peer, build in PEERS.items():
        planned = plan(problem, members, peer) if time.time() < deadline else "out of time"
        if not isinstance(planned, str):
            try:
                run = build(problem, planned[0])
                runs[peer] = (run, *planned, machine.peak_bytes(lambda run=run, steps=planned[1]: run(steps)), [], [])
            except (ImportError, RuntimeError) as reason:
                planned = f"{type(reason).__name__}: {str(reason).splitlines()[0][:120]}"
        if isinstance(planned, str):
            skipped.append({"shape": problem.shape, "members": members, "implementation": peer, "why": planned})
    for _ in range(REPEATS):
        for run, nets, steps, _, cpu, wall in runs.values():
            if cpu and time.time() > deadline + 30:
                continue
            begin = time.process_time(), time.perf_counter()
            run(steps)
            cpu.append((time.process_time() - begin[0]) / nets / steps)
            wall.append((time.perf_counter() - begin[1]) / nets / steps)
    for peer, (_, nets, steps, peak, cpu, wall) in runs.items():
        quarters = statistics.quantiles(cpu, n=4) if len(cpu) > 1 else [cpu[0]] * 3
        rows.append(
            {
                "kernel": problem.kernel,
                "shape": problem.shape,
                "members": members,
                "implementation": peer,
                "seconds_per_net_step": statistics.median(cpu),
                "spread": quarters[2] - quarters[0],
                "wall_seconds_per_net_step": statistics.median(wall),
                "peak_bytes": peak,
                "threads": torch.get_num_threads(),
                "nets_timed": nets,
                "steps_timed": steps,
                "repeats": len(cpu),
            }
        )
    return rows, skipped


def main():
    deadline = time.time() + BUDGET
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # JAX offers no other way
    torch.set_num_threads(1)
    rates, rows, skipped = [], [], []
    for members in MEMBERS:
        for problem in PROBLEMS:
            rates.append(machine.matmul_rate())
            more, left = measure(problem, members, deadline)
            rows += more
            skipped += left
            best = {row["implementation"]: f"{row['seconds_per_net_step'] * 1e6:.2f}" for row in more}
            print(f"{problem.shape}, {members} members, µs a net-step: {best}", file=sys.stderr, flush=True)
    matmul, copy = statistics.median(rates), machine.copy_rate()
    shapes = {}
    for problem in PROBLEMS:
        shapes[problem.shape] = {
            "product_operations": problem.products(),
            "other_operations": problem.elementwise(),
            "streamed_bytes": problem.traffic(),
        }
    for row in rows:
        work = shapes[row["shape"]]
        row["floor_seconds"] = (work["product_operations"] + work["other_operations"]) / matmul
    result = {
        "machine": machine.name(),
        "versions": machine.versions(),
        "date": datetime.date.today().isoformat(),
        "matmul_operations_per_second": matmul,
        "copy_bytes_per_second": copy,
        "shapes": shapes,
        "rows": rows,
        "skipped": skipped,
    }
    path = Path(__file__).parent / "results" / "cpu.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(path)


if __name__ == "__main__":
    main()
