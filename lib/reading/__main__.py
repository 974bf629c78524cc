"""`python -m lib.reading check NOTEBOOK…` prints every verdict and holds it to the ledger; `record` writes the ledger."""

import argparse
import datetime
import json
import sys

from .claims import FAILS, SIGNS, read
from .ledger import LEDGER, ledger, moved, processor, record, version


def check(notebooks):
    """Print every verdict; 1 if one has moved between holds and does not hold since the ledger was recorded."""
    wrong = []
    for path in notebooks:
        rows = read(path)
        print(f"{path}: {len(rows)} claims")
        for row in rows:
            print(f"  {SIGNS[row['verdict']]} {row['id']}: {row['here']}")
        chapter = rows[0]["id"].partition("/")[0] if rows else ""
        wrong += [] if rows else [f"{path}: no claims"]
        wrong += moved(rows)
        wrong += [
            f"{row['id']}: does not hold ({row['here']}), which its chapter does not expect"
            for row in rows
            if row["verdict"] == FAILS and row.get("finding") == ""
        ]
        if rows and chapter not in ledger():
            print(f"  {chapter} is not in the ledger yet")
        elif rows and ledger()[chapter]["version"] != version(LEDGER.parent / f"{chapter}.md"):
            print(f"  {chapter} has changed since the ledger was recorded ({ledger()[chapter]['date']})")
    for line in wrong:
        print(f"moved: {line}", file=sys.stderr)
    if not wrong:
        print(f"No verdict has moved between holds and does not hold ({processor()}).")
    return int(bool(wrong))


def write(notebooks):
    """Record the claims of the notebooks of a sweep over seeds in the ledger."""
    rows = [row for path in notebooks for row in read(path)]
    text = json.dumps(record(rows, datetime.date.today().isoformat()), indent=1, ensure_ascii=False)
    part = LEDGER.with_suffix(".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(LEDGER)
    print(f"{len(rows)} verdicts recorded in {LEDGER}")
    return 0


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lib.reading", description=__doc__)
    parser.add_argument("command", choices=["check", "record"])
    parser.add_argument("notebooks", nargs="+", help="executed notebooks")
    options = parser.parse_args(arguments)
    return {"check": check, "record": write}[options.command](options.notebooks)


if __name__ == "__main__":
    sys.exit(main())
