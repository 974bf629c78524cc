"""Every chapter through the real papermill: its claims at smoke scale, the same on re-execution, and bad input refused."""

import hashlib
import os
import re
import subprocess
import sys

import cells
import jupytext
import nbformat
import papermill
import pytest
import yaml
from conftest import CHAPTERS, ROOT, SMOKE, built
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from lib.reading import verdicts

WRONG = {  # annotation -> YAML values that no parameter of that kind may have
    "int": ["many", "1.5", "-1000000"],
    "float": ["fast", ".nan", "-1.0e+9"],
    "str": ["no such thing 7", "3"],
    "bool": ["3"],
    "list[int]": ["[]", "7", "[8, -1000000]", "[1.5]"],
    "list[float]": ["[]", "7", "[1.0, fast]", "[.nan]"],
    "list[str]": ["[]", "7", "[3]"],
}


ABSTRACTS = {  # the first digits of the SHA-256 of each paper's abstract
    "geneft": "eb4affbfd9cffb04",
    "mips": "861a4dfedbde82d6",
    "resource": "191ac601e023c9ed",
    "audits": "d6697eebd5bd3b02",
    "hypernetworks": "56edfab0c022185d",
    "brains": "14397cf4cc03501f",
    "truth": "447b042b3bc4aa18",
    "disempowerment": "27feb615168aeab3",
    "grokking": "8fc1e23ba33823b0",
    "lottery": "3c84202dbce9a6eb",
}


def parameters(chapter):
    """Names and annotations of a chapter's parameters."""
    known = papermill.inspect_notebook(nbformat.v4.upgrade(jupytext.read(ROOT / f"book/{chapter}.md")))
    return {name: about["inferred_type_name"] for name, about in known.items()}


def bad_values(chapter):
    """One wrong value for every parameter, another one from place to place, all of them for the first of a kind, and a
    parameter that there is not."""
    seen = set()
    for place, (name, kind) in enumerate(parameters(chapter).items()):
        wrong = WRONG[kind]
        yield from ((name, value) for value in (wrong if kind not in seen else [wrong[place % len(wrong)]]))
        seen.add(kind)
    yield "sed", "3"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_claims_are_recorded_and_not_judged_at_smoke_scale(chapter):
    rows = verdicts.read(built(SMOKE / f"{chapter}.ipynb"))
    assert len(rows) >= 5
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert set(verdicts.COLUMNS) <= set(row)
        assert row["id"].startswith(f"{chapter}/")
        assert row["scale"] == "smoke"
        assert row["verdict"] == verdicts.UNJUDGED
        assert row["says"].endswith(".")
        assert row["source"]
        assert row["here"]


@pytest.fixture
def shell():
    """A fresh IPython."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def marked(notebook):
    """The outputs of the cells of a notebook that are to come out the same at every execution."""
    cells = [cell for cell in notebook.cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    return [[output["data"] for output in cell.outputs] for cell in cells]


@pytest.mark.filterwarnings("ignore")  # those of libraries, which a kernel does not show
@pytest.mark.parametrize("chapter", [chapter for chapter in CHAPTERS if chapter != "lottery"])
def test_verdict_cells_come_out_the_same_again(chapter, shell, reader, monkeypatch):
    """The executed notebook once more, in this process: kernel and imports, half of a run's time, are those of the tests."""
    notebook = papermill.iorw.load_notebook_node(str(built(SMOKE / f"{chapter}.ipynb")))
    before = marked(notebook)
    assert any("Claims and their verdicts" in str(data) for outputs in before for data in outputs)
    monkeypatch.chdir(ROOT / "book")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            with capture_output() as captured:
                done = shell.run_cell(cell.source, store_history=True)
            done.raise_error()
            values = [] if done.result is None else [shell.display_formatter.format(done.result)[0]]
            cell.outputs = [{"data": data} for data in (*(output.data for output in captured.outputs), *values)]
    assert marked(notebook) == before


def test_nbval_finds_the_cells_to_check():
    """The chapter on lottery as its readers would check it: with a kernel of its own."""
    path = built(SMOKE / "lottery.ipynb")
    alone = ["-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", path.parent]
    run = [sys.executable, "-m", "pytest", "--nbval-lax", *alone, path]
    done = subprocess.run(run, cwd=ROOT / "book", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_parameter_refuses_what_it_cannot_be(chapter):
    """The cells of the parameters and of their checks alone, with the cell that papermill would put between them."""
    notebook = jupytext.read(ROOT / f"book/{chapter}.md")
    defaults, checks = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    for name, value in bad_values(chapter):
        space = {}
        exec(defaults, space)
        space[name] = yaml.safe_load(value)
        space["In"] = ["", defaults, f"# Parameters\n{name} = {value!r}"]
        with pytest.raises(ValueError, match=rf"^{name}(\[\d\])? = .*: expected "):
            exec(checks, space)


@pytest.mark.parametrize(("chapter", "bad"), [(CHAPTERS[0], "{sed: 3}"), (CHAPTERS[-1], "{scale: huge}")])
def test_papermill_stops_at_a_bad_parameter_in_the_first_cell(chapter, bad, tmp_path):
    """The line a reader would type: jupytext | papermill."""
    out = tmp_path / "out.ipynb"
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    line = f"jupytext --to ipynb -o - book/{chapter}.md | papermill --no-progress-bar -y '{bad}' - {out}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    name = next(iter(yaml.safe_load(bad)))
    message = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("ValueError: "))
    assert message.startswith(f"ValueError: {name} = "), message
    assert ": expected " in message
    cells = [cell for cell in papermill.iorw.load_notebook_node(str(out)).cells if cell.cell_type == "code"]
    injected = next(i for i, cell in enumerate(cells) if "injected-parameters" in cell.metadata.tags)
    failed = [i for i, cell in enumerate(cells) if any(output.output_type == "error" for output in cell.outputs)]
    assert failed == [injected + 1]
    assert all(cell.execution_count is None for cell in cells[failed[0] + 1 :])


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_sentence_of_the_abstract_is_judged_or_said_not_to_be(chapter):
    items = re.findall(r'^- "(.*)" → (.*)$', (ROOT / f"book/{chapter}.md").read_text(encoding="utf-8"), re.M)
    said = " ".join(sentence for sentence, _ in items)
    assert hashlib.sha256(said.encode()).hexdigest().startswith(ABSTRACTS[chapter]), "these are not the abstract's sentences"
    rows = verdicts.read(built(SMOKE / f"{chapter}.ipynb"))
    known = {row["id"].split("/")[1] for row in rows}
    named = {name for _, names in items if not names.startswith("not judged: ") for name in names.split(", ")}
    assert named
    assert named <= known
    of_the_abstract = {row["id"].split("/")[1] for row in rows if row["origin"] == "paper" and "abstract" in row["source"]}
    assert of_the_abstract <= named


@pytest.mark.parametrize("page", cells.PAGES, ids=lambda page: page.stem)
def test_cells_fit_the_page(page):
    _, code = cells.code_cells(page)
    for cell in code:
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 15, cell.source
        assert all(len(line) <= cells.WIDTH for line in lines), cell.source
