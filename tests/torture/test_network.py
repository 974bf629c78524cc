"""A sweep over two hosts, network namespaces here: a worker is lost, the link is cut; no run is lost and none done twice."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import FULL, HEADER, ROOT, TORTURE

PAGE = (
    HEADER
    + """
# A page that says when it has run

```{code-cell} ipython3
:tags: [parameters]

seed: int = 0  # any whole number
log: str = ""  # a file
```

```{code-cell} ipython3
import time

time.sleep(1)
with open(log, "a") as lines:
    lines.write(f"{seed}\\n")
row = dict(id="page/run", says="It has run.", verdict="holds")
display({"application/vnd.claims+json": [row]}, raw=True)
```
"""
)
RUNS = 24
CUTS = [5, 25]  # seconds: the first is over before anybody gives up; in the second the workers give up
TIMEOUTS = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s"}
ENVIRONMENT = os.environ | TIMEOUTS | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def hosts():
    """Two network namespaces with a wire between them: [(name, address, device), …]."""
    if os.geteuid() or not shutil.which("ip") or subprocess.run(["unshare", "--net", "true"]).returncode:
        pytest.skip("network namespaces need root")
    names = [f"book{os.getpid()}{letter}" for letter in "ab"]
    devices = [f"b{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", devices[0], "type", "veth", "peer", "name", devices[1])
        for place, (name, device) in enumerate(zip(names, devices, strict=True), 1):
            ip("link", "set", device, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{place}/24", "dev", device)
            for up in (device, "lo"):
                ip("-n", name, "link", "set", up, "up")
        yield [(name, f"10.77.0.{place}", device) for name, device, place in zip(names, devices, (1, 2), strict=True)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def start(host, log, *line):
    """A process on a host, in a session of its own."""
    line = ["ip", "netns", "exec", host[0], *line]
    with log.open("a") as out:
        return subprocess.Popen(line, env=ENVIRONMENT, cwd=log.parent, stdout=out, stderr=out, start_new_session=True)


def kill(process):
    """End a process and its children at once, as a power cut would."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(not FULL, reason="in `make torture`; test_sweep.py kills workers too")
def test_two_hosts(hosts, tmp_path):
    chance = random.Random(TORTURE)
    here, there = hosts
    page, out, done = tmp_path / "page.md", tmp_path / "out", tmp_path / "done"
    page.write_text(PAGE)
    done.touch()
    dask = str(Path(sys.executable).with_name("dask"))
    address = f"tcp://{here[1]}:8786"
    scheduler = [dask, "scheduler", "--no-dashboard", "--host", here[1], "--port", "8786"]
    again = ["bash", "-c", 'while :; do "$@"; sleep 1; done', "again"]  # a worker that gives up is started again
    worker = [*again, dask, "worker", address, "--no-dashboard", "--host", there[1], "--nthreads", "1"]
    grid = ["--grid", f"seed=0:{RUNS}", "--grid", "log=done", "--out", out, "--scheduler", address]
    processes = [start(here, tmp_path / "scheduler.log", *scheduler)]
    try:
        workers = [start(there, tmp_path / f"worker{i}.log", *worker) for i in range(2)]
        sweep = start(here, tmp_path / "sweep.log", sys.executable, "-m", "lib.sweep", page, *grid)
        processes += [*workers, sweep]

        def wait(runs, seconds=240):
            end = time.monotonic() + seconds
            while len(list(out.glob("*.ipynb"))) < runs:
                assert time.monotonic() < end, (tmp_path / "sweep.log").read_text()
                assert sweep.poll() is None, (tmp_path / "sweep.log").read_text()
                time.sleep(0.1)
            time.sleep(chance.random() * 2)
            return {path: path.stat().st_mtime_ns for path in out.glob("*.ipynb")}

        finished = wait(1)
        kill(workers[0])
        processes.append(start(there, tmp_path / "worker2.log", *worker))
        for cut in CUTS:
            finished |= wait(len(finished) + 3)
            ip("-n", there[0], "link", "set", there[2], "down")
            time.sleep(cut)
            finished |= {path: path.stat().st_mtime_ns for path in out.glob("*.ipynb")}
            ip("-n", there[0], "link", "set", there[2], "up")
        assert sweep.wait(400) == 0, (tmp_path / "sweep.log").read_text()
    finally:
        for process in processes:
            kill(process)
    assert len(list(out.glob("*.ipynb"))) == RUNS
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items()), "a finished run was done again"
    seeds = sorted(map(int, done.read_text().split()))
    assert set(seeds) == set(range(RUNS))
    interrupted = len(seeds) - RUNS  # had come to its last line when its worker was lost, but not to its place
    assert interrupted <= 1 + len(CUTS) * 2
