"""Sweeps on a real Dask cluster on loopback: named, resumable, and safe when anything is killed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas
import psutil
import pytest
from conftest import HEADER, ROOT
from hypothesis import given
from hypothesis import strategies as st

from lib import sweep
from lib.files import whole
from lib.reading import ledger

TOY = (
    HEADER
    + """
# Toy

```{code-cell} ipython3
:tags: [parameters]

scale: str = "book"  # smoke, book or paper
seed: int = 0  # any whole number
nap: float = 0.1  # seconds
```

```{code-cell} ipython3
import os
import time

memory = os.environ.get("MALLOC_TRIM_THRESHOLD_")
if nap < 0:
    raise ValueError(f"nap = {nap}: expected a number ≥ 0")
time.sleep(nap)
print("a worker's own limits on memory:", memory)
verdict = "does not hold" if seed % 2 else "holds"
row = dict(id="toy/even", says="Seeds are even.", verdict=verdict)
display({"application/vnd.claims+json": [row]}, raw=True)
```
"""
)
ENVIRONMENT = os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.md"
    path.write_text(TOY)
    return path


def command(toy, out, *more):
    return [sys.executable, "-m", "lib.sweep", str(toy), "--out", str(out), *more]


def call(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)


def notebooks(out):
    """Finished runs, each read whole; there is nothing else in the folder but the file of locks."""
    paths = sorted(path for path in out.iterdir() if path.name != ".lock")
    assert all(path.suffix == ".ipynb" for path in paths)
    return {path.name: nbformat.read(path, 4) for path in paths}


@given(st.integers(-50, 50), st.integers(1, 20), st.integers(1, 5))
def test_spans_are_ranges(first, count, step):
    assert sweep.parse_axis(f"seed={first}:{first + count}:{step}") == ("seed", list(range(first, first + count, step)))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("rate=1e-3,1.0e-2", [1e-3, 1e-2]),
        ("widths=[8, 16],[32]", [[8, 16], [32]]),
        ("activation=silu,gelu", ["silu", "gelu"]),
        ("deep=true", [True]),
        ("seed=0:3", [0, 1, 2]),
        ("activation=no,off", ["no", "off"]),
        ("words=[a, b],[c]", [["a", "b"], ["c"]]),
    ],
)
def test_values_are_what_they_look_like(text, values):
    assert sweep.parse_axis(text)[1] == values


@pytest.mark.parametrize(
    "text",
    [
        "seed",
        "seed=",
        "=3",
        "seed=3:3",
        "seed=0:9:0",
        "seed=1,1",
        "se ed=1",
        "widths=[8",
        "seed=1,,2",
        "seed=010",
        "seed=08,1",
    ],
)
def test_bad_grids_are_refused(text):
    with pytest.raises(ValueError, match=r"^--grid .*expected NAME="):
        sweep.parse_axis(text)


def test_every_run_has_its_own_name_and_parameters(toy, tmp_path):
    _, runs = sweep.plan(str(toy), "book", [("seed", [0, 1]), ("nap", [0.5])], tmp_path)
    assert list(runs.values()) == [{"seed": 0, "nap": 0.5}, {"seed": 1, "nap": 0.5}]
    assert [re.sub("_[0-9a-f]{8}.ipynb", "", path.name) for path in runs] == [
        "toy_book_seed=0_nap=0.5",
        "toy_book_seed=1_nap=0.5",
    ]


def test_names_lose_nothing(toy, tmp_path):
    """Values that look alike in a file's name, values that make it too long, and another version of the chapter."""
    _, alike = sweep.plan(str(toy), "book", [("scale", ["x/y", "x-y", "x:y"])], tmp_path)
    assert len(alike) == 3
    _, long = sweep.plan(str(toy), "book", [("nap", [list(range(120)), list(range(121))])], tmp_path)
    assert len(long) == 2
    assert max(len(path.name) for path in long) < 120
    toy.write_text(TOY.replace("seed % 2", "seed % 3"))
    _, changed = sweep.plan(str(toy), "book", [("scale", ["x/y", "x-y", "x:y"])], tmp_path)
    assert not set(alike) & set(changed)
    toy.write_text(TOY.replace("# Toy", "# A toy"))
    _, reworded = sweep.plan(str(toy), "book", [("scale", ["x/y", "x-y", "x:y"])], tmp_path)
    assert set(alike) == set(reworded), "prose is no reason to run again"


@pytest.mark.parametrize("rubbish", ["", "{", "[]", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'])
def test_a_file_that_is_no_executed_notebook_is_run_again(tmp_path, capsys, rubbish):
    path = tmp_path / "toy.ipynb"
    path.write_text(rubbish)
    assert not sweep.finished(path)
    assert capsys.readouterr().err.startswith("toy.ipynb is not an executed notebook and is run again (")


def test_a_chapters_parameters_at_a_scale_are_the_starting_point(tmp_path):
    _, runs = sweep.plan("lottery", "smoke", [("seed", [7])], tmp_path)
    (values,) = runs.values()
    assert values["scale"] == "smoke"
    assert values["seed"] == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "sed=0:3"], "chapter's parameters ['nap', 'scale', 'seed']"),
        (["--grid", "seed=0:3", "--grid", "seed=1"], "expected each once"),
        (["--grid", "seed=x:y"], "expected NAME="),
        (["--grid", "sed=0:3"], "the nearest is seed"),
        (["--scale", "boook"], "the nearest is book"),
        (["--workers", "0"], "--workers = 0: expected"),
        (["--scheduler", "somewhere"], "--scheduler somewhere: expected an address"),
        (["--ledger", "--scale", "smoke"], "--ledger: expected the scale book"),
        (["--table", "t.xls"], "expected a file ending in .csv or .parquet"),
        (["--table", "nowhere/t.csv"], "expected a folder that can be written to"),
        (["--table", "t.parquet"], "as pyarrow is not installed"),
    ],
)
def test_a_bad_call_fails_before_anything_starts(toy, tmp_path, capsys, arguments, words):
    assert sweep.main([str(toy), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_chapter_is_refused(tmp_path, capsys):
    assert sweep.main(["lotery", "--out", str(tmp_path)]) == 2
    assert "lottery" in capsys.readouterr().err


def test_a_sweep_runs_reports_failures_and_goes_on(toy, tmp_path):
    out, table = tmp_path / "out", tmp_path / "claims.csv"
    first = call(toy, out, "--grid", "seed=0:2", "--grid", "nap=0,-1", "--table", str(table))
    assert first.returncode == 1
    assert "4 runs, 0 finished before" in first.stdout
    assert first.stderr.count("ValueError: nap = -1: expected a number ≥ 0") == 2
    assert [name[:-15] for name in notebooks(out)] == ["toy_book_seed=0_nap=0", "toy_book_seed=1_nap=0"]
    assert all("a worker's own limits on memory: None" in str(run.cells) for run in notebooks(out).values())
    rows = pandas.read_csv(table)
    assert dict(zip(rows["seed"], rows["verdict"], strict=True)) == {0: "holds", 1: "does not hold"}
    stamps = [path.stat().st_mtime_ns for path in sorted(out.glob("*.ipynb"))]
    again = call(toy, out, "--grid", "seed=0:2", "--grid", "nap=0")
    assert again.returncode == 0
    assert "2 runs, 2 finished before" in again.stdout
    assert [path.stat().st_mtime_ns for path in sorted(out.glob("*.ipynb"))] == stamps


def test_an_out_that_cannot_be_written_to_is_said(toy, capsys):
    assert sweep.main([str(toy), "--out", "/dev/null/out"]) == 2
    assert "/dev/null/out" in capsys.readouterr().err


def listening(process):
    """The addresses at which a process and all that it has started wait for connections."""
    found = set()
    for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            found |= {c.laddr.ip for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return found


def test_two_sweeps_share_a_folder_listen_to_this_machine_alone_and_stop_in_a_line(toy, tmp_path):
    """Each run is made once; Ctrl-C, which a terminal sends to all processes, ends them without a traceback."""
    out, log = tmp_path / "out", toy.parent / "log"
    toy.write_text(TOY.replace("time.sleep(nap)", f"time.sleep(nap)\nopen({str(log)!r}, 'a').write(f'{{seed}}\\n')"))
    line = command(toy, out, "--grid", "seed=0:3", "--workers", "1")
    with (tmp_path / "first").open("w") as one, (tmp_path / "second").open("w") as two:
        first, second = (
            subprocess.Popen(line, cwd=ROOT, env=ENVIRONMENT, stdout=f, stderr=f, start_new_session=True) for f in (one, two)
        )
    wait_for(lambda: out.exists() and any(out.glob("*.ipynb")))
    assert {ip for process in (first, second) for ip in listening(process)} <= {"127.0.0.1", "::1"}
    os.killpg(first.pid, signal.SIGINT)
    assert first.wait(20) == 130
    text = (tmp_path / "first").read_text()
    assert "stopped: what is finished is kept" in text
    assert "Traceback" not in text
    assert second.wait(240) == 0
    assert len(notebooks(out)) == 3
    assert len(log.read_text().split()) <= 4, "none twice, but for the one that was stopped"


def test_two_sweeps_write_the_ledger_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger.json")
    monkeypatch.setattr(ledger, "version", lambda page: "0")
    chapters = [f"c{i}" for i in range(12)]
    rows = [[{"id": f"{name}/claim", "seed": 0, "verdict": "holds", "here": "1"}] for name in chapters]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda one: ledger.write(one, "today"), rows))
    assert set(json.loads((tmp_path / "ledger.json").read_text())) == set(chapters)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.json"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnicodeEncodeError), whole(tmp_path / "table.csv") as draft:
        draft.write_text("half a table \ud800", encoding="utf-8")
    assert not list(tmp_path.iterdir())


class Cluster:
    """A scheduler and workers, each a process of its own on loopback."""

    def __init__(self, folder, workers=2):
        self.file, self.folder = folder / "scheduler.json", folder
        self.file.unlink(missing_ok=True)
        dask = str(Path(sys.executable).with_name("dask"))
        plain = ["--no-dashboard", "--scheduler-file", str(self.file)]
        self.scheduler = self.start([dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *plain])
        worker = [dask, "worker", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1", "--death-timeout", "5", *plain]
        self.workers = [self.start(worker) for _ in range(workers)]
        wait_for(self.file.exists)
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, line):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(
            line, cwd=self.folder, env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)}, start_new_session=True, **quiet
        )

    def close(self):
        for process in (*self.workers, self.scheduler):
            kill(process)


def kill(process):
    """End a process and its children at once, as a power cut would."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["worker", "scheduler", "client"])
def test_a_kill_loses_no_finished_run(toy, tmp_path, victim):
    out, grid = tmp_path / "out", ["--grid", "seed=0:4", "--grid", "nap=1.0"]
    cluster = Cluster(tmp_path)
    try:
        line = command(toy, out, *grid, "--scheduler", cluster.address)
        log = (tmp_path / "log").open("w")
        client = subprocess.Popen(line, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: out.exists() and any(out.glob("*.ipynb")))
        kill({"worker": cluster.workers[0], "scheduler": cluster.scheduler, "client": client}[victim])
        before = notebooks(out)
        status = client.wait(120)
        log.close()
        if victim == "worker":  # the other one does its work
            assert status == 0, (tmp_path / "log").read_text()
        else:
            assert status != 0
    finally:
        cluster.close()
    kept = {name: notebook for name, notebook in notebooks(out).items() if name in before}
    assert kept == before
    done = len(notebooks(out))
    again = call(toy, out, *grid)
    assert again.returncode == 0, again.stderr
    assert f"4 runs, {done} finished before" in again.stdout
    assert len(notebooks(out)) == 4
