"""A chapter over a grid of parameters: papermill runs it, Dask spreads it, the executed notebooks are the only record.

    python -m lib.sweep lottery --grid seed=0:10 --grid rate=1e-3,1e-2 --out runs

runs the chapter twenty times on this machine's cores; `--scheduler tcp://…` sends the runs to any Dask cluster that sees the
same folder and has this project installed. Each run is one executed notebook in `--out`, named after what it computes and
written whole or not at all, so a sweep that was interrupted, wherever, goes on where it stopped.
"""

import argparse
import csv
import datetime
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from . import interrupt

if __name__ == "__main__":
    interrupt.ends_all("stopped: what is finished is kept, the same line goes on from there")
elif __name__ == "__mp_main__":  # a worker
    interrupt.is_for_the_parent()

import jupytext
import nbformat
import pandas
import papermill
from dask.distributed import Client, LocalCluster, as_completed
from tqdm import tqdm

from .checks import check, nearest
from .files import alone, check_writable, whole
from .scales import BOOK, at_scale

AHEAD = 1000  # runs that the scheduler knows of at a time: more than any cluster has workers, and little to keep in memory


def parse_axis(text):
    """One `--grid` argument as (name, values): `seed=0:10`, `seed=0:10:2`, `rate=1e-3,1e-2` or `widths=[8,16],[8,32]`.

    Raises:
        ValueError: if it is not of that form, is empty, or repeats a value.
    """
    name, equals, values = text.partition("=")
    span = re.fullmatch(r"(-?\d+):(-?\d+)(?::([1-9]\d*))?", values)
    try:
        items = list(range(*map(int, span.groups("1")))) if span else [_value(part) for part in _parts(values)]
    except ValueError:
        items = []
    if not (name.isidentifier() and equals and items) or len({repr(i) for i in items}) < len(items):
        raise ValueError(
            f"--grid {text!r}: expected NAME=FIRST:END, NAME=FIRST:END:STEP or NAME=VALUE,VALUE,… without repeats"
        )
    return name, items


def _parts(text):
    """The text cut at its commas outside brackets."""
    if text.count("[") != text.count("]"):
        raise ValueError
    return re.split(r",(?![^\[]*\])", text)


def _value(text):
    """A number, true or false, a list or a word, as JSON reads it; `010`, `1:2` and nothing at all are none of these."""
    text = text.strip()
    if text.startswith("["):
        return [_value(part) for part in _parts(text[1:-1])]
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if not re.fullmatch(r"[A-Za-z_][\w ./+-]*", text):
            raise ValueError from None
        return text


def load(chapter, scale):
    """The notebook of a chapter and its parameters at a scale, of which those that the chapter declares are a dict too.

    Args:
        chapter: a slug, or the path of any MyST notebook with a `parameters` cell.
        scale: "book" for the chapter's own defaults, else a file in `book/params`.

    Returns:
        the notebook, the version of what it computes, the parameters of that scale, the names that the chapter declares.

    Raises:
        ValueError: for an unknown chapter or scale.
    """
    from .reading import ledger  # not at the head: torch and matplotlib come with it, which a Dask worker has no use for

    path = Path(chapter) if chapter.endswith(".md") else BOOK / f"{chapter}.md"
    if not path.exists():
        raise ValueError(f"chapter = {chapter!r}: expected one of {sorted(p.stem for p in BOOK.glob('*.md'))} or a .md file")
    base = at_scale(scale, path.stem)
    notebook = nbformat.v4.upgrade(jupytext.read(path))
    return notebook, ledger.version(path), base, set(papermill.inspect_notebook(notebook))


def plan(chapter, scale, axes, out):
    """The chapter's notebook, and every run of the grid: a dict from the executed notebook's path to the run's parameters.

    A name is some readable words and a hash of all parameters and of the version of the code, so that runs that differ in
    anything have different names, and a new version of a chapter runs again.

    Raises:
        ValueError: if an axis is given twice or names a parameter that the chapter does not have.
    """
    notebook, version, base, known = load(chapter, scale)
    names = [name for name, _ in axes]
    for name in names:
        if name not in known or names.count(name) > 1:
            expected = f"each once, of the chapter's parameters {sorted(known)}, the nearest is {nearest(name, known)}"
            raise ValueError(f"--grid {name}: expected {expected}")
    runs = {}
    for point in itertools.product(*(values for _, values in axes)):
        chosen = dict(zip(names, point, strict=True))
        words = "_".join([Path(chapter).stem, scale, *(f"{name}={value}" for name, value in chosen.items())])
        whole = json.dumps([base | chosen, version], sort_keys=True)
        digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
        runs[Path(out) / f"{re.sub(r'[^a-zA-Z0-9_=.+-]+', '-', words)[:80]}_{digest}.ipynb"] = base | chosen
    return notebook, runs


def finished(path):
    """Whether `path` is an executed notebook, whole; a file that is none is said to be run again."""
    if not path.exists():
        return False
    try:
        return json.loads(path.read_bytes())["metadata"]["papermill"]["exception"] is None
    except Exception as fault:  # whatever stands there is not a run of ours
        print(f"{path.name} is not an executed notebook and is run again ({type(fault).__name__})", file=sys.stderr)
        return False


def run(notebook, path, parameters):
    """Execute one run and put its notebook at `path`, whole or not at all. Returns None, or what went wrong as text.

    A run that is there already is left alone, and one that another process is at is waited for: Dask asks again for what a
    lost worker had, which may be at it still, and two sweeps may share a folder.
    """
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)  # of Dask's workers: to hand memory back at once costs a chapter dear
    try:
        with alone(path), tempfile.TemporaryDirectory() as folder:
            if not finished(path):
                executed = Path(folder) / "run.ipynb"
                once = {"request_save_on_cell_execute": False, "autosave_cell_every": 0}  # saved whole, at the end
                papermill.execute_notebook(notebook, executed, parameters, progress_bar=False, **once)
                with whole(path) as draft:
                    shutil.copyfile(executed, draft)
    except papermill.PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except OSError as error:  # a full disk, say
        return str(error)
    return None


def summary(paths):
    """Verdicts counted over the notebooks, as text: a row for each claim and a column for each verdict."""
    from .reading.verdicts import read

    counts = Counter((row["id"], row["verdict"]) for path in paths for row in read(path))
    return pandas.Series(counts).rename_axis(["id", "verdict"]).unstack(fill_value=0).to_string() if counts else "no claims"


def save(runs, file):
    """Write the claims of the runs, {path: parameters}, one row a claim, as .csv or .parquet (which needs pyarrow)."""
    from .reading.verdicts import COLUMNS, read

    columns = dict.fromkeys([*COLUMNS, "notebook", *(name for parameters in runs.values() for name in parameters)])
    with whole(file) as draft:
        table = draft.with_suffix(".csv")
        with table.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, columns, extrasaction="ignore")
            writer.writeheader()
            for path, parameters in runs.items():
                writer.writerows(row | {"notebook": str(path)} | parameters for row in read(path))
        if file.suffix == ".parquet":
            pandas.read_csv(table).to_parquet(draft, index=False)


def main(arguments=None):
    """The command line; returns 0 if every run of the grid is finished, 1 if some failed, 2 for a bad call."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.sweep", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("chapter", help="a chapter's slug, or a MyST notebook")
    parser.add_argument("--grid", action="append", default=[], help="NAME=FIRST:END or NAME=VALUE,VALUE,…; may be repeated")
    parser.add_argument("--scale", default="book", help="parameters to start from (default: book)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the executed notebooks")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="runs at a time on this machine (default: its cores)"
    )
    parser.add_argument("--scheduler", help="address of a Dask scheduler to use instead of this machine")
    parser.add_argument("--table", type=Path, help="also write all claims to this .csv or .parquet file")
    parser.add_argument("--ledger", action="store_true", help="also record all verdicts in book/ledger.json, by seed")
    options = parser.parse_args(arguments)
    try:
        notebook, runs = plan(options.chapter, options.scale, [parse_axis(text) for text in options.grid], options.out)
        if options.table and options.table.suffix not in (".csv", ".parquet"):
            raise ValueError(f"--table {options.table}: expected a file ending in .csv or .parquet")
        if options.table:
            check_writable("--table", options.table.absolute().parent)
        if options.table and options.table.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ValueError(f"--table {options.table}: expected a .csv file, as pyarrow is not installed")
        if options.ledger and (options.scale != "book" or not all(text.startswith("seed=") for text in options.grid)):
            raise ValueError("--ledger: expected the scale book and no grid but --grid seed=…")
        if options.scheduler and not re.fullmatch(r"(\w+://)?[^/]+:\d+", options.scheduler):
            raise ValueError(f"--scheduler {options.scheduler}: expected an address such as tcp://192.168.0.1:8786")
        check("--workers", options.workers, int, low=1)
        options.out.mkdir(parents=True, exist_ok=True)
        check_writable("--out", options.out)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2

    todo = {path: parameters for path, parameters in runs.items() if not finished(path)}
    print(f"{len(runs)} runs, {len(runs) - len(todo)} finished before")
    try:
        failures = _spread(notebook, todo, options) if todo else {}
    except OSError as error:  # there is no such scheduler
        print(error, file=sys.stderr)
        return 1
    done = {path: parameters for path, parameters in runs.items() if path not in failures}
    for path, why in failures.items():
        print(f"failed: {path.name}: {why}", file=sys.stderr)
    if done:
        print(summary(done))
        if options.table:
            save(done, options.table)
        if options.ledger and not failures:
            from .reading import ledger
            from .reading.verdicts import read

            ledger.write([row for path in done for row in read(path)], datetime.date.today().isoformat())
    return int(bool(failures))


def _spread(notebook, todo, options):
    """Run what is to do on the cluster; returns {path: error} of the runs that failed or were lost."""
    lost = dict.fromkeys(todo, "lost with the cluster: run the same line again to go on")
    if options.scheduler:
        cluster = nullcontext(options.scheduler)
    else:
        here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}  # nobody else is to reach it
        cluster = LocalCluster(n_workers=min(options.workers, len(todo)), threads_per_worker=1, **here)
    with cluster as place, Client(place) as client:
        # A task and not scattered data: Dask makes it again if the worker that holds it is lost.
        source = client.submit(nbformat.reads, nbformat.writes(notebook), 4)
        futures = ((client.submit(run, source, path.absolute(), todo[path], pure=False), path) for path in todo)
        paths = dict(itertools.islice(futures, AHEAD))
        queue = as_completed(paths)
        for future in tqdm(queue, total=len(todo), desc="runs", smoothing=0):
            path = paths.pop(future)
            if future.status == "finished":
                lost.pop(path)
                if why := future.result():
                    lost[path] = why
            elif future.status == "error":
                lost[path] = str(future.exception())
            for one, its_path in itertools.islice(futures, 1):
                paths[one] = its_path
                queue.add(one)
    return lost


if __name__ == "__main__":
    from lib.sweep import main as imported  # so that workers import the functions by name

    sys.exit(imported())
