"""The ledger: the verdict of every claim at seeds 0 to 4, recorded with the version of the code, the date and the processor.

A sweep over the seeds writes it (`python -m lib.sweep CHAPTER --grid seed=0:5 --ledger`); `python -m lib.reading NOTEBOOK…`
fails if a verdict has moved between *holds* and *does not hold*.
"""

import functools
import hashlib
import json
import os
import platform
from pathlib import Path

from ..files import whole

ROOT = Path(__file__).parents[2]
LEDGER = ROOT / "book/ledger.json"


def version(page: Path) -> str:
    """Eight hexadecimal digits that change with what a page (path) computes: its cells, module, the kernels, the rules.

    Cells tagged `live` hold a scene that trains in the reader's browser: no claim depends on them.
    """
    import jupytext

    chapter, cells = page.stem, jupytext.read(page).cells
    cells = [cell for cell in cells if cell.cell_type == "code" and "live" not in cell.metadata.get("tags", [])]
    digest = hashlib.sha256("\0".join(cell.source for cell in cells).encode())
    files = [
        *ROOT.glob(f"lib/papers/{chapter}.py"),
        *ROOT.glob(f"lib/papers/{chapter}/**/*"),
        *ROOT.glob("lib/kernels/**/*"),
    ]
    files += [ROOT / f"lib/reading/{name}.py" for name in ("claims", "conditions")]
    for path in sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def processor() -> str:
    """The processor of this machine, as text."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


@functools.cache
def ledger() -> dict:
    """The recorded ledger: {chapter: {"version", "date", "processor", "claims": {claim's id: {seed: verdict}}, …}}."""
    return json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.exists() else {}


def recorded(identity: str) -> dict[str, dict]:
    """What the ledger says of one claim, by its id: {seed as text: {"verdict", "here"}}, empty if it is not there."""
    return ledger().get(identity.partition("/")[0], {}).get("claims", {}).get(identity, {})


def write(rows: list[dict], date: str) -> None:
    """Record the verdicts of `rows`, claims of book-scale notebooks with their seeds: their chapters are put in anew.

    Args:
        rows: claims, as `verdicts.read` gives them.
        date: of today, as text.
    """
    import fcntl  # not on Windows

    fresh: dict = {}
    for row in rows:
        chapter = row["id"].partition("/")[0]
        about = {"version": version(ROOT / f"book/{chapter}.md"), "date": date, "processor": processor(), "claims": {}}
        claims = fresh.setdefault(chapter, about)["claims"]
        claims.setdefault(row["id"], {})[str(row["seed"])] = {"verdict": row["verdict"], "here": row["here"]}
    folder = os.open(LEDGER.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # two sweeps may end at the same time
        ledger.cache_clear()
        text = json.dumps(dict(sorted((ledger() | fresh).items())), indent=1, ensure_ascii=False)
        with whole(LEDGER) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
    finally:
        os.close(folder)
        ledger.cache_clear()


def moved(rows: list[dict], before: dict[str, dict] | None = None) -> list[str]:
    """One line for each claim whose verdict has moved between *holds* and *does not hold*.

    Args:
        rows: claims.
        before: other claims by their ids, to compare with; by default the ledger's, at the same seed.
    """
    lines = []
    for row in rows:
        other = before.get(row["id"]) if before is not None else recorded(row["id"]).get(str(row["seed"]))
        if other and {other["verdict"], row["verdict"]} == {"holds", "does not hold"}:
            lines.append(
                f"moved: {row['id']} at seed {row['seed']}: {row['verdict']} ({row['here']}) on {processor()}; "
                f"it was {other['verdict']} ({other['here']})"
            )
    return lines
