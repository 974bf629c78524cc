"""Publishing: the printed book, the workflow for GitHub Pages, and what Binder reads, as far as it goes offline."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, SMOKE, built
from pypdf import PdfReader

from lib.publishing import pdf

WORKFLOW = ROOT / ".github/workflows/pages.yml"


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Three pages of the site as a printed book: the text of every sheet, and the file."""
    site, out = built(SMOKE / "html/index.html").parent, tmp_path_factory.mktemp("print") / "book.pdf"
    some = [(None, "book/index"), ("How networks learn", "book/lottery"), ("Appendices", "book/changelog")]
    code = f"from lib.publishing import pdf; pdf.pages = lambda: {some}; raise SystemExit(pdf.main({[str(site), str(out)]}))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # a browser of its own, in a process of its own
    reader = PdfReader(out)
    return [page.extract_text() for page in reader.pages], reader


def test_sheets_are_numbered_and_the_contents_say_so(printed):
    sheets, _ = printed
    for number, text in enumerate(sheets, 1):  # in the file the foot comes before all else
        assert re.match(rf"{number}\D", text), (number, text[:80])
    contents = next(text for text in sheets if re.match(r"\d+\s*Contents", text))
    for title in ("Why does a wider network make a smaller error?", "About this book"):
        number = int(re.search(rf"{re.escape(title)}\s+(\d+)", contents).group(1))
        assert title not in sheets[number - 2][:60]
        assert sheets[number - 1].startswith(f"{number}{title}")
        assert sheets[number].startswith(f"{number + 1}{title}")
        assert " ".join(sheets[number - 1].split()).count(title) == 2  # the foot, and its heading


def test_code_is_folded_and_moving_pictures_say_so(printed):
    sheets, _ = printed
    text = "\n".join(sheets)
    assert "from lib" not in text
    assert "claims.judge" not in text
    assert "jupytext --to ipynb" in text  # what the reader is to type stays
    page = (SMOKE / "html/book/lottery.html").read_text()
    assert text.count("Here is its opening frame.") == page.count('class="explorable"') >= 2
    assert text.count("Here they have not begun.") >= page.count('type="application/vnd.jupyter.widget-view+json"') == 1
    assert len(sheets) < 40  # the front page's list of all claims stays folded


def test_links_stay_in_the_book_and_chapters_are_marked(printed):
    sheets, reader = printed
    targets = set()
    for page in reader.pages:
        for note in (reference.get_object() for reference in page.get("/Annots", [])):
            assert not str(note.get("/A", {}).get("/URI", "")).startswith("file:")
            if isinstance(note.get("/Dest"), list):
                targets.add(reader.get_page_number(note["/Dest"][0].get_object()))
    assert len(targets) >= 3
    marks = {item.title: reader.get_destination_page_number(item) for item in reader.outline}
    assert list(marks)[:2] == ["Contents", "Opening the Black Box"]
    assert list(marks)[2:] == ["Why does a wider network make a smaller error?", "About this book"]
    assert all(sheets[page].startswith(f"{page + 1}{title}") for title, page in marks.items() if title != "Contents")


def test_the_whole_book_is_printed_in_its_order():
    listed = pdf.pages()
    assert listed[0] == (None, "book/index")
    assert [name for _, name in listed] == re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text())
    assert [part for part, _ in listed if part] == re.findall(r"caption: (.*)", (ROOT / "_toc.yml").read_text())


def test_a_site_that_is_not_there_cannot_be_printed(tmp_path, capsys, monkeypatch):
    assert pdf.main([str(tmp_path), str(tmp_path / "book.pdf")]) == 1
    assert "book/index.html is missing; run `make book`" in capsys.readouterr().err
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert pdf.main([str(built(SMOKE / "html/index.html").parent), str(tmp_path / "book.pdf")]) == 1
    assert "Chromium" in capsys.readouterr().err
    assert not (tmp_path / "book.pdf").exists()


# ---- GitHub Pages and Binder ---------------------------------------------------------------------------------------------


def steps():
    """Every step of the workflow."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_the_workflow_builds_tests_and_only_then_deploys():
    flow = yaml.safe_load(WORKFLOW.read_text())
    commands = "\n".join(step.get("run", "") for step in flow["jobs"]["build"]["steps"])
    order = [commands.index(f"make {target}") for target in ("lint", "test", "pdf")]
    assert order == sorted(order)
    for target in re.findall(r"^make (\w+)", commands, re.M):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
    assert flow["jobs"]["deploy"]["needs"] == "build"
    assert flow["permissions"] == {"contents": "read"}
    assert flow["jobs"]["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert [step["with"]["path"] for step in steps() if "upload-pages" in step.get("uses", "")] == ["_build/html"]


def test_the_workflows_commands_can_be_read():
    for step in steps():
        assert ("run" in step) != ("uses" in step)
        subprocess.run(["bash", "-n", "-c", step.get("run", "")], check=True)
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_the_workflow_says_where_book_and_sources_are(tmp_path):
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (step,) = [step for step in steps() if step.get("name") == "Say where the book and its sources are"]
    given = {"ADDRESS": "https://someone.example/a-book", "REPOSITORY": "https://github.com/someone/a-book"}
    assert set(step["env"]) == set(given)
    subprocess.run(["bash", "-euo", "pipefail", "-c", step["run"]], cwd=tmp_path, env={**os.environ, **given}, check=True)
    settings = yaml.safe_load((tmp_path / "_config.yml").read_text())
    assert settings["repository"]["url"] == given["REPOSITORY"]
    assert settings["html"]["baseurl"] == given["ADDRESS"]


def test_binder_gets_the_books_packages_modules_and_settings(tmp_path):
    assert (ROOT / "binder/requirements.txt").read_text() == "-r ../requirements.txt\n"
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@" > "$HOME/pip.log"\n')
    (tmp_path / "pip").chmod(0o755)
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([ROOT / "binder/postBuild"], cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "pip.log").read_text() == "install --no-deps -e .\n"
    settings = json.loads((tmp_path / ".jupyter/labconfig/default_setting_overrides.json").read_text())
    assert settings["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]["myst"] == "Jupytext Notebook"
