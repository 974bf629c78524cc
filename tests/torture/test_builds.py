"""Whole builds at smoke scale: killed at random moments, from a checkout that cannot be written to, and twice the same."""

import html
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import CHAPTERS, FULL, PAGES, ROOT, TORTURE
from pypdf import PdfReader

from lib.reading.verdicts import read

pytestmark = pytest.mark.skipif(not FULL, reason="in `make torture`; test_build.py does so with one short page")
KILLS = 10


def book(folder):
    return ["make", "book", "SCALE=smoke", f"BUILD={folder}"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A build from a checkout that cannot be written to, and its seconds."""
    folder = tmp_path_factory.mktemp("whole")
    line, start = book(folder), time.monotonic()
    if os.geteuid() == 0:
        kept = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && ! touch here 2>/dev/null && exec "$@"'
        line = ["unshare", "--mount", "bash", "-c", kept, str(ROOT), *line]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder, time.monotonic() - start


def tables(folder, page):
    """The tables that a page shows, as HTML."""
    cells = json.loads((folder / f"smoke/{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = ["".join(output.get("data", {}).get("text/html", "")) for cell in cells for output in cell.get("outputs", [])]
    return [one for one in shown if "<table" in one]


def test_kills_and_a_second_build_change_no_number(whole, tmp_path):
    folder, seconds = whole
    chance = random.Random(TORTURE)
    for _ in range(KILLS):
        build = subprocess.Popen(
            book(tmp_path), cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0, seconds / 5))
        os.killpg(build.pid, signal.SIGKILL)
        build.wait()
        print(f"killed; {len(list(tmp_path.glob('smoke/*.ipynb')))} pages are there", flush=True)
    done = subprocess.run(book(tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for chapter in CHAPTERS:
        assert read(tmp_path / f"smoke/{chapter}.ipynb") == read(folder / f"smoke/{chapter}.ipynb"), chapter
    for page in PAGES:
        assert tables(tmp_path, page.stem) == tables(folder, page.stem), page
        for build in (tmp_path, folder):
            assert (build / f"html/book/{page.stem}.html").stat().st_size > 10_000


def test_the_whole_book_is_printed(whole, tmp_path):
    folder, _ = whole
    out = tmp_path / "book.pdf"
    subprocess.run([sys.executable, "-m", "lib.publishing.pdf", folder / "html", out], cwd=ROOT, check=True)
    pages = [(folder / f"html/book/{page.stem}.html").read_text(encoding="utf-8") for page in PAGES]
    titles = {html.unescape(re.search("<title>(.*) &#8212;", page).group(1)) for page in pages}
    assert titles <= {mark.title for mark in PdfReader(out).outline}
