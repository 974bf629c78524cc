"""`python -m lib.reading NOTEBOOK…` prints every verdict, and fails if one has moved since the ledger was recorded."""

import argparse
import sys
from pathlib import Path

from .ledger import LEDGER, ledger, moved, processor, version
from .verdicts import SIGNS, read


def main(arguments=None):
    """The command line; 1 if a verdict has moved between holds and does not hold, or a notebook has no claims."""
    parser = argparse.ArgumentParser(prog="python -m lib.reading", description=__doc__)
    parser.add_argument("--against", type=Path, help="a folder of executed notebooks to compare with, instead of the ledger")
    parser.add_argument("notebooks", nargs="+", type=Path, help="executed notebooks")
    options = parser.parse_args(arguments)
    wrong = []
    for path in options.notebooks:
        rows = read(path)
        before = {row["id"]: row for row in read(options.against / path.name)} if options.against else None
        print(f"{path}: {len(rows)} claims")
        for row in rows:
            was = before.get(row["id"], row) if before else row
            same = (was["verdict"], was["here"]) == (row["verdict"], row["here"])
            note = "" if same else f" (was {was['verdict']}, {was['here']})"
            print(f"  {SIGNS[row['verdict']]} {row['id']}: {row['here']}{note}")
        wrong += moved(rows, before) if rows else [f"{path}: no claims"]
        if rows and not before:
            _date(rows[0]["id"].partition("/")[0])
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"No verdict has moved between holds and does not hold ({processor()}).")
    return int(bool(wrong))


def _date(chapter):
    """Say so if the ledger does not have this chapter, or an older version of it."""
    if chapter not in ledger():
        print(f"  {chapter} is not in the ledger yet")
    elif ledger()[chapter]["version"] != version(LEDGER.parent / f"{chapter}.md"):
        print(f"  {chapter} has changed since the ledger was recorded ({ledger()[chapter]['date']})")


if __name__ == "__main__":
    sys.exit(main())
