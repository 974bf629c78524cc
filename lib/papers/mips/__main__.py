"""`python -m lib.papers.mips --seeds 3` runs all tasks at several seeds and records the outcome in recorded.json."""

import argparse
import json
import sys

from ...checks import check
from .scoreboard import RECORD, board
from .tasks import TASKS


def record(rows):
    """What is kept of a board: {task: {kind, program, errors, hidden}}, plain values."""
    return {
        name: {
            "kind": row.kind,
            "program": row.text if row.kind != "table" else f"table of {len(row.result.machine)} states",
            "errors": row.errors,
            "hidden": row.trained.net.size if row.trained.net else 0,
        }
        for name, row in rows.items()
    }


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m lib.papers.mips", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    options = parser.parse_args(arguments)
    check("seeds", options.seeds, int, low=1)
    seen = {}
    for seed in range(options.seeds):
        for name in TASKS:
            row = board([name], seed=seed)
            seen.setdefault(str(seed), {}).update(record(row))
            print(seed, name, row[name].kind, row[name].errors, row[name].long, row[name].proved, flush=True)
        part = RECORD.with_suffix(".part")
        part.write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n")
        part.replace(RECORD)  # whole or not at all


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
