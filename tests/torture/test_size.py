"""A sweep of ten thousand runs of a second: what it costs beside the runs, in time and memory."""

import json
import os
import subprocess
import sys

from conftest import FULL, ROOT
from test_sweep import TOY

RUNS = 10_000 if FULL else 200
SECONDS = RUNS / 100 if FULL else 10  # a hundredth of what the runs would take; starting a cluster takes a few
MEGABYTES = 200
MEASURE = """
import json, sys, time
from pathlib import Path
from lib import sweep
from lib.reading import verdicts  # which comes with torch, and is in the count of "before" then

def made(notebook, path, parameters):  # a run that takes no time
    path.write_text(stub)

def used():  # by this process, in which Dask's client and scheduler are
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return time.process_time(), int(peak.split()[1]) / 1000

if __name__ == "__main__":
    page, out, runs = sys.argv[1:]
    row = {"id": "toy/even", "says": "Seeds are even.", "verdict": "holds"}
    output = {"output_type": "display_data", "metadata": {}, "data": {"application/vnd.claims+json": [row] * 20}}
    cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": "", "outputs": [output]}
    about = {"papermill": {"exception": None}}
    stub = json.dumps({"cells": [cell], "metadata": about, "nbformat": 4, "nbformat_minor": 5})
    sweep.run = made
    before = used()
    arguments = [page, "--grid", f"seed=0:{runs}", "--out", out, "--table", f"{out}.csv"]
    again = [sweep.main(arguments) for _ in range(2)]
    print(json.dumps([again, [after - first for after, first in zip(used(), before)]]))
"""


def test_bookkeeping_is_small(tmp_path):
    page, script, out = tmp_path / "toy.md", tmp_path / "measure.py", tmp_path / "out"
    page.write_text(TOY)
    script.write_text(MEASURE)
    line = [sys.executable, script, page, out, str(RUNS)]
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    statuses, (seconds, megabytes) = json.loads(done.stdout.splitlines()[-1])
    print(f"{RUNS} runs: {seconds:.1f} CPU-seconds and {megabytes:.0f} MB of bookkeeping")
    assert statuses == [0, 0]
    assert len(list(out.glob("*.ipynb"))) == RUNS
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
