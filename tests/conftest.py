"""What several test files need: where things are, and which chapters there are."""

import http.server
import os
import shutil
from pathlib import Path

import jaxtyping
import pytest
from playwright.sync_api import sync_playwright

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch: the tests themselves share the cores
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton: its kernels run on the CPU then

ROOT = Path(__file__).parent.parent
# In the tests shapes in signatures are checked, but not those of programs that Triton compiles from their text.
MODULES = [path.relative_to(ROOT).with_suffix("") for path in ROOT.glob("lib/kernels/**/*.py") if "triton" not in path.name]
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"  # a whole number passes for a float
jaxtyping.install_import_hook([".".join(path.parts) for path in MODULES] + ["lib.reading"], CHECKER)

# `make torture` sets a seed and runs tests/torture at length; other runs of the tests take a small share of each.
TORTURE = int(os.environ.get("TORTURE") or 0)
FULL = "TORTURE" in os.environ

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
  language: python
---
"""  # of a page that is a notebook
SMOKE = ROOT / "_build/smoke"
PAGES = sorted(md for md in ROOT.glob("book/*.md") if md.read_text(encoding="utf-8").startswith("---\njupytext:"))
CHAPTERS = sorted(md.stem for md in ROOT.glob("book/*.md") if any(ROOT.glob(f"lib/papers/{md.stem}*")))


def built(path):
    """`path`, which `make test` builds before the tests run."""
    if not path.exists():
        pytest.fail(f"{path} is missing: run `make test`, which builds the book at smoke scale first")
    return path


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, which asks nobody for anything; its build without windows, if there is one, needs half the time."""
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("no Chromium found: install it with `apt-get install chromium` (Debian, Ubuntu) and put it on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def watched(context, place):
    """A new page of a browser's context, and a list of all that goes wrong on it; nothing but `place` is to be asked."""
    page, troubles = context.new_page(), []
    page.on("request", lambda r: r.url.startswith((place, "data:", "blob:")) or troubles.append(f"asks {r.url}"))
    page.on("response", lambda r: r.status >= 400 and troubles.append(f"{r.status} {r.url}"))
    page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
    page.on("pageerror", lambda e: troubles.append(str(e)))
    return page, troubles


@pytest.fixture
def reader():
    """As a reader runs the code: shapes are not checked, bad input meets the functions' own checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pytest_report_header():
    return f"tests/torture with SEED={TORTURE}" if FULL else None
