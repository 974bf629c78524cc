"""What a whole chapter costs with the fused kernels, and with batched PyTorch instead: `python -m benchmarks.chapters`.

CPU seconds of one thread at book scale, with starting Python, analysis, search and drawing. Chapters may be named; a record
is made anew for these and kept for the others, in benchmarks/chapters.json. It takes more than an hour for all.
"""

import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.files import whole
from lib.scales import BOOK

from . import machine

ENGINES = {"ours": "", "torch": "torch"}  # what BLACKBOX_ENGINE is set to
RECORD = Path(__file__).parent / "chapters.json"
FUSED = ("audits", "brains", "geneft", "grokking", "lottery", "mips", "resource")  # chapters that train in fused kernels


def cost(chapter, engine, folder):
    """CPU seconds of a chapter with all its processes. Raises CalledProcessError if it fails."""
    notebook, programs = Path(folder) / f"{chapter}.ipynb", Path(sys.executable).parent
    settings = os.environ | {"BLACKBOX_ENGINE": ENGINES[engine], "OMP_NUM_THREADS": "1"}
    subprocess.run([programs / "jupytext", "--quiet", "--to", "ipynb", "-o", notebook, BOOK / f"{chapter}.md"], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    once = ["--no-request-save-on-cell-execute", "--autosave-cell-every", "0"]
    line = [programs / "papermill", "--cwd", BOOK, "--no-progress-bar", *once, notebook, notebook]
    subprocess.run(line, check=True, env=settings, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(chapters):
    """Measures `chapters`, slugs, one after the other, and records each as soon as it is done."""
    for chapter in chapters:
        with tempfile.TemporaryDirectory() as folder:
            seconds = {engine: round(cost(chapter, engine, folder), 1) for engine in ENGINES}
        print(chapter, seconds)
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        record[chapter] = seconds | {"machine": machine.name(), "date": datetime.date.today().isoformat()}
        with whole(RECORD) as draft:
            draft.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n")


if __name__ == "__main__":
    if unknown := {*sys.argv[1:]} - {*FUSED}:
        sys.exit(f"chapters = {sorted(unknown)}: expected some of {', '.join(FUSED)}")
    main(sys.argv[1:] or FUSED)
