"""`python -m lib.reading NOTEBOOK…` prints every verdict, and fails if one has moved since the ledger was recorded."""

import sys

from .claims import FAILS, SIGNS, read
from .ledger import LEDGER, ledger, moved, processor, version


def main(notebooks):
    """Print every verdict; 1 if one has moved between holds and does not hold against the ledger's same seed."""
    wrong = []
    for path in notebooks:
        rows = read(path)
        print(f"{path}: {len(rows)} claims")
        for row in rows:
            print(f"  {SIGNS[row['verdict']]} {row['id']}: {row['here']}")
        if not rows:
            wrong.append(f"{path}: no claims")
            continue
        wrong += [f"moved: {line}" for line in moved(rows)]
        wrong += [
            f"{row['id']} does not hold ({row['here']}), which its chapter does not declare as a finding"
            for row in rows
            if row["verdict"] == FAILS and row.get("finding") == ""
        ]
        chapter = rows[0]["id"].partition("/")[0]
        if chapter not in ledger():
            print(f"  {chapter} is not in the ledger yet")
        elif ledger()[chapter]["version"] != version(LEDGER.parent / f"{chapter}.md"):
            print(f"  {chapter} has changed since the ledger was recorded ({ledger()[chapter]['date']})")
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"No verdict has moved between holds and does not hold ({processor()}).")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
