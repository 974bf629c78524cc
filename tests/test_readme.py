"""README and CONTRIBUTING work as typed: every block of code is run, or, where it cannot be, says why and is parsed."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHAPTERS, ROOT, SMOKE, built

from lib.publishing import readme

BLOCK = re.compile(r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
# The same lines at smoke scale: what the functions do not touch is typed as it stands.
SMALL = """
papermill() { if [[ "$*" == *runs/* ]]; then command papermill "$@" -f "$ROOT/_build/smoke/source/lottery.yaml"; else command papermill "$@"; fi; }
python() { if [[ "$1 ${2-}" == "-m lib.sweep" ]]; then command python "${@/seed=0:5/seed=0:1}" --scale smoke; else command python "$@"; fi; }
make() {
  case "$1" in
    lab) timeout -s INT 15 make lab LAB=--no-browser || [[ $? == 124 ]];;
    pdf) command make -n pdf;;  # test_publishing prints some pages, the torture tests the whole book
    *) command make "$@";;
  esac
}
"""  # noqa: E501
SMALL_BOOK = {"SCALE": "smoke", "HTML": "_build/smoke/html", "NO_MODEL": "1", "CI": "true", "ROOT": str(ROOT)}
NOT_COPIED = {".git", ".venv", "_build", "runs", "node_modules"}


def blocks():
    """Every block of code as (name, kind, code, reason not to run it)."""
    for page in ("README.md", "CONTRIBUTING.md"):
        for match in BLOCK.finditer((ROOT / page).read_text()):
            line = (ROOT / page).read_text()[: match.start("code")].count("\n") + 1
            yield pytest.param(match["kind"], match["code"], match["reason"], id=f"{page}:{line}")


RUN = [block for block in blocks() if not block.values[2]]
NOT_RUN = [block for block in blocks() if block.values[2]]


def test_every_block_is_of_a_language_that_is_tested():
    assert {block.values[0] for block in blocks()} == {"bash", "python"}
    for page in ("README.md", "CONTRIBUTING.md"):
        assert (ROOT / page).read_text().count("```") == 2 * sum(block.id.startswith(page) for block in blocks())


@pytest.fixture
def checkout(tmp_path):
    """The repository as somebody else has it, in a folder with an awkward name; environment and smoke build are there."""
    built(SMOKE / "html/index.html")
    folder = tmp_path / "Bücher und mehr"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in NOT_COPIED or path.name in (".venv", "_build"):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.mark.parametrize(("kind", "code", "reason"), RUN)
def test_block_runs(checkout, kind, code, reason):
    before = set(os.listdir(checkout))
    command = ["bash", "-euo", "pipefail", "-c", SMALL + code] if kind == "bash" else [sys.executable, "-c", code]
    environment = {**os.environ, **SMALL_BOOK, "PYTHONPATH": str(ROOT)}
    environment["PATH"] = os.pathsep.join(p for p in environment["PATH"].split(os.pathsep) if ".venv" not in p)
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in set(os.listdir(checkout)) - before:
        ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", f"{name}/x"], cwd=ROOT)
        assert ignored.returncode == 0, f"git would see {name}"


@pytest.mark.parametrize(("kind", "code", "reason"), NOT_RUN)
def test_block_that_is_not_run_can_be_read(kind, code, reason):
    assert len(reason.split()) >= 3
    if kind == "python":
        ast.parse(code)
    else:
        subprocess.run(["bash", "-n", "-c", code], check=True)
    for target in re.findall(r"^(?:\w+=\S* )*make (\w+)", code, re.M):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_outputs_of_the_chapters_examples_are_ignored():
    for page in CHAPTERS:
        for name in re.findall(r"papermill - (\S+)", (ROOT / f"book/{page}.md").read_text()):
            assert subprocess.run(["git", "check-ignore", "-q", "--no-index", name], cwd=ROOT).returncode == 0, name


def test_the_table_of_chapters_is_that_of_the_ledger():
    text = (ROOT / "README.md").read_text()
    table = text.partition(readme.START)[2].partition(readme.END)[0]
    assert table == readme.table(), "run `make readme`"
    assert sorted(headline.partition("/")[0] for headline in readme.HEADLINES) == CHAPTERS


def test_sentences_are_read_from_the_calls():
    code = 'claims.judge(\n  "a",\n  "One " "two.",\n  ours(),\n)\nclaims.judge(name, f"{x}.", ours())\nother.say("b", "c")'
    assert readme.sentences([code]) == {"a": "One two."}


def test_verdicts_of_the_table_are_the_ledgers(monkeypatch):
    found = {str(seed): {"verdict": verdict, "here": f"{seed}.5"} for seed, verdict in enumerate(["holds", "undecided"])}
    monkeypatch.setattr(readme, "recorded", {"lottery/mechanism": found}.get)
    assert readme.verdict("lottery/mechanism") == "✓≈ 0.5"
    assert readme.verdict("lottery/none") == "not recorded yet"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_to_files_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
    for image in re.findall(r"!\[([^\]]*)\]", text):
        assert len(image) >= 20
    assert Path(ROOT / "LICENSE").exists()
