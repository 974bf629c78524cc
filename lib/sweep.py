"""A chapter over a grid of parameters: papermill runs it, Dask spreads it, the executed notebooks are the only record.

    python -m lib.sweep lottery --grid seed=0:10 --grid rate=1e-3,1e-2 --out runs

runs the chapter twenty times on this machine's cores; `--scheduler tcp://…` sends the runs to any Dask cluster that sees the
same folder and has this project installed. Each run is one executed notebook in `--out`, named after its parameters and
written whole or not at all, so a sweep that was interrupted, wherever, goes on where it stopped.
"""

import argparse
import itertools
import os
import re
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import jupytext
import nbformat
import papermill
import yaml
from dask.distributed import Client, LocalCluster, as_completed
from tqdm import tqdm

from .reading.claims import frame
from .reading.ledger import version

BOOK = Path(__file__).parents[1] / "book"


def parse_axis(text):
    """One `--grid` argument as (name, values): `seed=0:10`, `seed=0:10:2`, `rate=1e-3,1e-2` or `widths=[8,16],[8,32]`.

    Raises:
        ValueError: if it is not of that form, is empty, or repeats a value.
    """
    name, equals, values = text.partition("=")
    span = re.fullmatch(r"(-?\d+):(-?\d+)(?::([1-9]\d*))?", values)
    try:
        items = (
            list(range(*map(int, span.groups("1")))) if span else yaml.safe_load(f"[{values}]") if ":" not in values else []
        )
    except yaml.YAMLError:
        items = []
    items = [_number(item) for item in items]
    if not (name.isidentifier() and equals and items and None not in items) or len({repr(i) for i in items}) < len(items):
        raise ValueError(
            f"--grid {text!r}: expected NAME=FIRST:END, NAME=FIRST:END:STEP or NAME=VALUE,VALUE,… without repeats"
        )
    return name, items


def _number(item):
    """YAML reads 1e-3 as a text; readers mean the number."""
    if isinstance(item, list):
        return [_number(part) for part in item]
    try:
        return float(item) if isinstance(item, str) else item
    except ValueError:
        return item


def load(chapter, scale):
    """The notebook of a chapter and its parameters at a scale, of which those that the chapter declares are a dict too.

    Args:
        chapter: a slug, or the path of any MyST notebook with a `parameters` cell.
        scale: "book" for the chapter's own defaults, else a file in `book/params`.

    Returns:
        notebook, the parameters of that scale, the names that the chapter declares.

    Raises:
        ValueError: for an unknown chapter or scale.
    """
    path = Path(chapter) if chapter.endswith(".md") else BOOK / f"{chapter}.md"
    if not path.exists():
        raise ValueError(f"chapter = {chapter!r}: expected one of {sorted(p.stem for p in BOOK.glob('*.md'))} or a .md file")
    scales = {p.stem: p for p in (BOOK / "params").glob("*.yaml")}
    if scale not in {"book", *scales}:
        raise ValueError(f"--scale {scale!r}: expected one of {sorted({'book', *scales})}")
    base = {} if scale == "book" else (yaml.safe_load(scales[scale].read_text()) or {}).get(path.stem, {})
    notebook = nbformat.v4.upgrade(jupytext.read(path))
    notebook.metadata["version"] = version(path)
    return notebook, base, set(papermill.inspect_notebook(notebook))


def plan(chapter, scale, axes, out):
    """Every run of the grid: a dict from the notebook's path to the run's parameters.

    Raises:
        ValueError: if an axis is given twice or names a parameter that the chapter does not have.
    """
    notebook, base, known = load(chapter, scale)
    names = [name for name, _ in axes]
    for name in names:
        if name not in known or names.count(name) > 1:
            raise ValueError(f"--grid {name}: expected each once, of the chapter's parameters {sorted(known)}")
    runs = {}
    for point in itertools.product(*(values for _, values in axes)):
        chosen = dict(zip(names, point, strict=True))
        words = [Path(chapter).stem, scale, *(f"{name}={value}" for name, value in chosen.items())]
        runs[Path(out) / (re.sub(r"[^\w=.+-]+", "-", "_".join(words)) + ".ipynb")] = base | chosen
    return notebook, runs


def finished(path, parameters, version):
    """Whether `path` is the executed notebook of exactly these parameters and this version of the chapter's code."""
    if not path.exists():
        return False
    metadata = nbformat.read(path, 4).metadata
    return metadata.papermill.parameters == parameters and metadata.get("version") == version


def run(notebook, path, parameters):
    """Execute one run and put its notebook at `path`, whole or not at all. Returns None, or what went wrong as text.

    A run that is there already is left alone: Dask asks again for the results that a lost worker held.
    """
    if finished(path, parameters, notebook.metadata.version):
        return None
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "run.ipynb"
        try:
            papermill.execute_notebook(notebook, draft, parameters, progress_bar=False)
        except papermill.PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(draft.read_bytes())
        os.replace(part, path)
    return None


def summary(paths):
    """Verdicts counted over the notebooks: a table with a row for each claim and a column for each verdict."""
    table = frame(paths)
    return table.groupby(["id", "verdict"], sort=False).size().unstack(fill_value=0) if len(table) else table


def save(paths, file):
    """The claims of the notebooks with each run's parameters, one row a claim, as .csv or .parquet (which needs pyarrow)."""
    table = frame(paths)
    parameters = {str(path): dict(nbformat.read(path, 4).metadata.papermill.parameters) for path in paths}
    for name in sorted({name for values in parameters.values() for name in values} - set(table.columns)):
        table[name] = [str(parameters[path].get(name, "")) for path in table["notebook"]]
    getattr(table, {".csv": "to_csv", ".parquet": "to_parquet"}[file.suffix])(file, index=False)


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
    options = parser.parse_args(arguments)
    try:
        notebook, runs = plan(options.chapter, options.scale, [parse_axis(text) for text in options.grid], options.out)
        if options.table and options.table.suffix not in (".csv", ".parquet"):
            raise ValueError(f"--table {options.table}: expected a file ending in .csv or .parquet")
        if options.workers < 1:
            raise ValueError(f"--workers {options.workers}: expected a whole number ≥ 1")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2

    options.out.mkdir(parents=True, exist_ok=True)
    todo = {
        path: parameters for path, parameters in runs.items() if not finished(path, parameters, notebook.metadata.version)
    }
    print(f"{len(runs)} runs, {len(runs) - len(todo)} finished before")
    failures = _spread(notebook, todo, options) if todo else {}
    done = [path for path in runs if path not in failures]
    for path, why in failures.items():
        print(f"failed: {path.name}: {why}", file=sys.stderr)
    if done:
        print(summary(done).to_string())
        if options.table:
            save(done, options.table)
    return int(bool(failures))


def _spread(notebook, todo, options):
    """Run what is to do on the cluster; returns {path: error} of the runs that failed or were lost."""
    lost = dict.fromkeys(todo, "lost with the cluster: run the same line again to go on")
    if options.scheduler:
        cluster = nullcontext(options.scheduler)
    else:
        cluster = LocalCluster(n_workers=min(options.workers, len(todo)), threads_per_worker=1, dashboard_address=":0")
    with cluster as place, Client(place) as client:
        # A task and not scattered data: Dask makes it again if the worker that holds it is lost.
        source = client.submit(nbformat.reads, nbformat.writes(notebook), 4)
        futures = {client.submit(run, source, path.absolute(), values, pure=False): path for path, values in todo.items()}
        for future in tqdm(as_completed(futures), total=len(todo), desc="runs", smoothing=0):
            if future.status == "finished":
                why, path = future.result(), futures[future]
                lost.pop(path)
                if why:
                    lost[path] = why
            elif future.status == "error":
                lost[futures[future]] = str(future.exception())
    return lost


if __name__ == "__main__":
    from lib.sweep import main as imported  # so that workers import the functions by name

    sys.exit(imported())
