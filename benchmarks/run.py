"""Times every implementation on every shape and writes benchmarks/results/<device>.json: `python -m benchmarks.run`.

Shapes may be named, as in the record ("1-2-1, 32 points"): then their rows are measured anew, and the others stay.

On a CPU everything runs on one core, so that CPU seconds mean work and not threads waiting for each other on a busy machine;
members are independent, so more cores share them, and rows of this book's kernels on all cores show how well. With a CUDA
device the same is done there, in seconds on the wall. Each implementation of each shape has a process of its own; their
repeats are interleaved, so that a busy machine slows all alike, and medians are kept. What is too large or too slow is left
out and named under "skipped", never extrapolated: a row says how many networks and steps were timed.
"""

import datetime
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

import torch

from lib.files import whole

from . import machine
from .peers import ON
from .problems import PROBLEMS
from .worker import Worker

MEMBERS = (1, 16, 256, 4096)
SCALED = (256, 4096)  # members at which all cores are tried
REPEATS = 5
BUDGET = 600  # seconds, shared by the shapes; no more of "vmap", "graphs" or "compile" begins once a share is over
LAST = 720  # seconds, shared alike; nothing more of that shape begins
LONGEST = 12  # seconds that two steps may take at the speed of a large matrix product
PATIENCE = 80  # seconds for one implementation to be built, compiled and run once
ENOUGH = 3  # seconds after which a row is not repeated more than twice
LOOP_NETS = 8  # the plain loop costs the same for every network, so no more than these are timed


def plan(problem, members, peer, device):
    """Networks and steps to time, or a text that says why not."""
    hidden = sum(problem.sizes[1:-1]) + sum(problem.readout[1:-1])
    limit = 4 if device == "cpu" else 40
    if peer in ("vmap", "graphs", "compile") and 24 * members * hidden * problem.points * problem.length > limit * 1e9:
        return f"needs more than {limit} GB"
    speed = 4e10 if device == "cpu" else 4e12
    work = members * (problem.products() + problem.elementwise()) / speed  # seconds a step, roughly
    if peer in ("ours", "jax"):
        return (members, min(20000, max(2, int(0.2 / work)))) if 2 * work < LONGEST else "two steps take too long"
    if peer == "loop":
        return min(members, LOOP_NETS), 8
    return members, min(20, max(1, int(0.02 / work)))


def measure(problem, members, workers, device, share, end):
    """Rows of one shape at one number of members, and what was skipped. `share` and `end` are times on the clock."""
    running, rows, skipped = {}, [], []

    def skip(peer, threads, why):
        skipped.append({"shape": problem.shape, "members": members, "implementation": peer, "threads": threads, "why": why})

    for (peer, threads), worker in workers.items():
        if threads > 1 and members not in SCALED:
            continue
        planned = worker.failure or plan(problem, members, peer, device)
        if time.time() > (end if peer in ("ours", "loop", "jax") else share):
            planned = "out of time"
        if isinstance(planned, str):
            skip(peer, threads, planned)
            continue
        peak = worker.build(*planned, PATIENCE)
        if worker.failure:
            skip(peer, threads, worker.failure)
        else:
            running[peer, threads] = (worker, *planned, peak, [])
    for repeat in range(REPEATS):
        for worker, _, _, _, times in running.values():
            if worker.failure is None and (repeat < 2 or sum(wall for _, wall in times) < ENOUGH):
                seconds = worker.time(PATIENCE)
                times += [] if worker.failure else [seconds]
    for (peer, threads), (worker, nets, steps, peak, times) in running.items():
        if not times:
            skip(peer, threads, worker.failure)
            continue
        cpu, wall = ([seconds / nets / steps for seconds in each] for each in zip(*times, strict=True))
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
                "threads": threads,
                "nets_timed": nets,
                "steps_timed": steps,
                "repeats": len(cpu),
            }
        )
    return rows, skipped


def everything(problems, device, cores):
    """All rows of the problems, what was skipped, and the rate of matrix products between them."""
    rows, skipped, rates, start = [], [], [], time.time()
    few = {max(cores)}
    for number, problem in enumerate(problems):
        now, to_come = time.time(), len(problems) - number  # what is left of the time is shared by the shapes to come
        ends = [now + max(0, start + total - now) / to_come for total in (BUDGET, LAST)]
        kinds = [(peer, few) for peer in ON[device]]
        if device == "cpu" and len(cores) > 1:
            kinds.append(("ours", cores))
        workers = {(peer, len(on)): Worker(peer, problem, device, on) for peer, on in kinds}
        try:
            for members in MEMBERS:
                rates.append(machine.matmul_rate(device))
                more, left = measure(problem, members, workers, device, *ends)
                rows += more
                skipped += left
                found = ", ".join(f"{r['implementation']} {r['seconds_per_net_step'] * 1e6:.2f} µs" for r in more)
                print(f"{time.time() - start:.0f} s: {problem.shape}, {members} members: {found}", file=sys.stderr)
        finally:
            for worker in workers.values():
                worker.stop()
    return rows, skipped, statistics.median(rates)


def main(names):
    """Measures the shapes named, or all, and writes the record."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        os.environ.setdefault("BLACKBOX_ENGINE", "triton")  # not chosen by itself yet, and what is to be measured
    file = "cpu" if device == "cpu" else re.sub(r"\W+", "-", machine.name(device).lower())
    path = Path(__file__).parent / "results" / f"{file}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if names else {"rows": [], "skipped": []}
    if names and before["machine"] != machine.name(device):
        sys.exit(f"shapes = {names}: expected none, as the record is of another machine ({before['machine']})")
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
    torch.set_num_threads(1)
    rows, skipped, matmul = everything([p for p in PROBLEMS if p.shape in names or not names], device, cores)
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
    found = {"rows": rows, "skipped": skipped}
    for kind, news in found.items():
        news += [row for row in before[kind] if row["shape"] not in names]
        news.sort(key=lambda row: [*shapes].index(row["shape"]))
    result = {
        "machine": machine.name(device),
        "device": device,
        "versions": machine.versions(),
        "date": datetime.date.today().isoformat(),
        "matmul_operations_per_second": matmul,
        "copy_bytes_per_second": machine.copy_rate(device),
        "shapes": shapes,
        **found,
    }
    path.parent.mkdir(exist_ok=True)
    with whole(path) as draft:
        draft.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(path)


if __name__ == "__main__":
    known = [problem.shape for problem in PROBLEMS]
    if unknown := {*sys.argv[1:]} - {*known}:
        sys.exit(f"shapes = {sorted(unknown)}: expected some of {known}")
    main(sys.argv[1:])
