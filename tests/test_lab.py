"""Chapters opened by `make lab`, in the real JupyterLab and a real browser: what the site renders, it renders too."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from conftest import ROOT

TOKEN = "only-for-this-test"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a server that `make lab` started in a folder with an awkward name."""
    folder = tmp_path_factory.mktemp("lab") / "Bücher und mehr"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in (".git", "_build"):
            (folder / path.name).symlink_to(path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"--no-browser --port={port} --IdentityProvider.token={TOKEN}"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["make", "lab", f"LAB={options}"],
            cwd=folder,
            env={**os.environ, "NO_MODEL": "1", "PYTHONPATH": str(ROOT), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2)
            break
        except OSError:
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.5)
    yield address
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(timeout=30)


def test_the_server_asks_for_its_token(lab):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{lab}/api/contents")


def test_a_chapter_shows_formulas_notes_and_references(browser, lab):
    page, asked = browser.new_page(viewport={"width": 1300, "height": 1000}), []
    page.on("request", lambda r: r.url.startswith((lab, "data:", "blob:", "ws:")) or asked.append(r.url))
    page.goto(f"{lab}/lab/tree/lottery.md?token={TOKEN}&reset", wait_until="domcontentloaded")
    page.locator(".jp-MarkdownCell .myst").first.wait_for(timeout=120000)
    page.wait_for_function(
        "document.querySelectorAll('.jp-MarkdownCell .myst').length == document.querySelectorAll('.jp-MarkdownCell').length"
        " && document.querySelectorAll('.jp-MarkdownCell').length > 10",
        timeout=120000,
    )
    text = page.locator(".jp-Notebook").inner_text()
    assert re.findall(r"\{[\w:-]+\}`|^:::|^```\{|\$\$", text, re.M) == []
    assert page.locator(".jp-MarkdownCell .katex").count() > 20
    numbered = page.locator('.jp-MarkdownCell [id="lottery-model"]')
    assert numbered.count() == 1
    assert "(1)" in numbered.inner_text()
    assert page.locator(".jp-MarkdownCell details, .jp-MarkdownCell aside").count() >= 1
    assert page.locator(".jp-MarkdownCell", has_text="liu2023lottery").count() >= 1
    assert asked == []
    page.close()
