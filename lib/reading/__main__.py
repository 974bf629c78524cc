"""`python -m lib.reading NOTEBOOK…` prints every verdict; it fails on one that its chapter does not declare as a finding."""

import sys

from .claims import FAILS, HOLDS, SIGNS, read


def main(notebooks):
    """Print every verdict; return 1 if a claim fails undeclared, or a notebook has no claims at all."""
    surprises = 0
    for path in notebooks:
        rows = read(path)
        surprises += not rows
        print(f"{path}: {len(rows)} claims")
        for row in rows:
            surprise = row["verdict"] == FAILS and not row["finding"]
            surprises += surprise
            note = "  <-- not declared as a finding" if surprise else ""
            if row["verdict"] == HOLDS and row["finding"]:
                note = "  <-- declared as a finding, yet it holds: look again"
            print(f"  {SIGNS[row['verdict']]} {row['id']}: {row['here']}{note}")
    return int(surprises > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
