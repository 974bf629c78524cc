"""Every chapter through the real papermill: its claims at smoke scale, the same on re-execution, and bad input refused."""

import os
import subprocess
import sys

import papermill
import pytest
import yaml
from conftest import CHAPTERS, ROOT, SMOKE, built

from lib.reading import claims

BAD = {
    "lottery": [
        "{widths: []}",
        "{widths: [8, -4]}",
        "{steps: -1}",
        "{steps: many}",
        "{rate: .nan}",
        "{activation: swish7}",
        "{scale: huge}",
        "{seeds: 1.5}",
        "{seed: -1}",
        "{map_rates: [1.0e-3, fast]}",
        "{device: tpu}",
    ]
}
ANY = ["{scale: huge}", "{seed: -1}"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_claims_are_recorded_and_not_judged_at_smoke_scale(chapter):
    rows = claims.read(built(SMOKE / f"{chapter}.ipynb"))
    assert len(rows) >= 10
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert set(claims.COLUMNS) <= set(row)
        assert row["id"].startswith(f"{chapter}/")
        assert row["scale"] == "smoke"
        assert row["verdict"] == claims.UNJUDGED
        assert row["says"].endswith(".")
        assert row["source"]
        assert row["here"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_verdict_cells_come_out_the_same_again(chapter):
    path = built(SMOKE / f"{chapter}.ipynb")
    marked = [
        cell for cell in papermill.iorw.load_notebook_node(str(path)).cells if "nbval-check-output" in cell.metadata.tags
    ]
    assert any(claims.MIME in output.get("data", {}) for cell in marked for output in cell.outputs)
    run = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--rootdir",
        str(path.parent),
    ]
    done = subprocess.run([*run, str(path)], cwd=ROOT / "book", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize(("chapter", "bad"), [pytest.param(c, b, id=f"{c}-{b}") for c in CHAPTERS for b in BAD.get(c, ANY)])
def test_bad_parameters_stop_the_run_in_its_first_cell(chapter, bad, tmp_path):
    """The line a reader would type: jupytext | papermill."""
    out = tmp_path / "out.ipynb"
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    line = f"jupytext --to ipynb -o - book/{chapter}.md | papermill --no-progress-bar -y '{bad}' - {out}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    name, value = next(iter(yaml.safe_load(bad).items()))
    message = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("ValueError: "))
    assert message.startswith(f"ValueError: {name}"), message
    assert ": expected " in message
    if not isinstance(value, list):
        assert repr(value) in message
    cells = [cell for cell in papermill.iorw.load_notebook_node(str(out)).cells if cell.cell_type == "code"]
    tags = [cell.metadata.tags for cell in cells]
    parameters = next(i for i, tag in enumerate(tags) if "injected-parameters" in tag)
    failed = [i for i, cell in enumerate(cells) if any(output.output_type == "error" for output in cell.outputs)]
    assert failed == [parameters + 1]
    assert all(cell.execution_count is None for cell in cells[failed[0] + 1 :])
