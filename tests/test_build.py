"""Building in places and ways that users report: paths with spaces, no home, slips in a page, two builds at a time."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HEADER, PAGES, ROOT
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class

from lib.kernels.fused import build
from lib.scales import at_scale

PAGE = (
    HEADER
    + """
# A page

```{code-cell} ipython3
:tags: [parameters]

scale: str = "book"  # smoke, book or paper
device: str = "cpu"  # cpu or cuda
seed: int = 0  # any whole number
```

```{code-cell} ipython3
from lib.reading import Claims, exact, ours, parameters
from lib.reading.conditions import less

parameters(globals())
claims = Claims("toy", scale, seed)
claims.judge("up", "It goes up.", ours(), less(2), exact(x=1.0))
```
"""
)


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one short chapter, under a path with a space and an umlaut."""
    place = tmp_path / "Bücher und Papier"
    ignore = shutil.ignore_patterns("__pycache__", "vendor", "papers", "*.md")
    for name in ("lib", "book"):
        shutil.copytree(ROOT / name, place / name, ignore=ignore)
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "package-lock.json"):
        shutil.copy(ROOT / name, place)
    (place / ".venv").symlink_to(ROOT / ".venv")
    (place / "lib/papers").mkdir()
    (place / "lib/papers/toy.py").write_text("")
    (place / "book/toy.md").write_text(PAGE)
    (place / "book/params/smoke.yaml").write_text("toy: {scale: smoke}\n")
    return place


def make(place, *arguments, **environment):
    line = ["make", "--no-print-directory", *arguments]
    here = {**os.environ, "PYTHONPATH": str(place), "CI": "true", **environment}
    return subprocess.run(line, cwd=place, env=here, capture_output=True, text=True, timeout=300)


def executed(place, out="_build/smoke"):
    path = place / out / "toy.ipynb"
    return json.loads(path.read_text())["metadata"]["papermill"]["exception"] is None


def litter(place):
    """What is left of drafts."""
    return list(place.glob("_build/**/.draft*"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("SCALE=papper", "SCALE = 'papper': expected one of book"),
        ("SCAL=smoke", "name = 'SCAL': expected one of "),
        ("CHAPTERS=lotery", "CHAPTERS = 'lotery': expected one of "),
    ],
)
def test_make_refuses_names_and_values_that_are_none(given, words):
    done = make(ROOT, "-n", "notebooks", given)
    assert done.returncode == 2
    assert words in done.stderr


def test_parameters_of_a_chapter_that_is_none_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("lib.scales.BOOK", tmp_path)
    (tmp_path / "params").mkdir()
    (tmp_path / "params/mine.yaml").write_text("lotery: {seeds: 3}\n")
    (tmp_path / "lottery.md").write_text("")
    with pytest.raises(ValueError, match=r"^mine.yaml: lotery: expected chapters, the nearest is lottery$"):
        at_scale("mine", "lottery")
    with pytest.raises(ValueError, match=r"^scale = 'min': expected one of .* the nearest is mine$"):
        at_scale("min", "lottery")


def test_a_path_with_spaces_and_a_home_that_cannot_be_written_to(checkout):
    done = make(checkout, "notebooks", "SCALE=smoke", HOME="/dev/null")
    assert done.returncode == 0, done.stderr
    assert executed(checkout)
    assert (checkout / "_build/home").is_dir()
    assert not litter(checkout)
    before = (checkout / "_build/smoke/toy.ipynb").stat().st_mtime_ns
    (checkout / "book/toy.md").touch()  # saved, not edited
    assert make(checkout, "notebooks", "SCALE=smoke").returncode == 0
    assert (checkout / "_build/smoke/toy.ipynb").stat().st_mtime_ns == before


def test_a_checkout_that_cannot_be_written_to(checkout, tmp_path):
    """Root may write anywhere, but not where it has mounted a folder to be read only."""
    place = str(checkout)
    if os.geteuid() == 0:
        kept = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && ! touch here 2>/dev/null && '
        around = ["unshare", "--mount", "bash", "-c"]
    else:
        kept, around = 'cd "$0" && ', ["bash", "-c"]
        subprocess.run(["chmod", "-R", "a-w", place], check=True)
    line = [*around, kept + 'make notebooks SCALE=smoke BUILD="$1"', place, str(tmp_path / "elsewhere")]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": place}, capture_output=True, text=True, timeout=300)
    subprocess.run(["chmod", "-R", "u+w", place], check=True)
    assert done.returncode == 0, done.stderr
    assert executed(tmp_path, "elsewhere/smoke")


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("kernelspec:", "kernelspec", "could not find expected ':'"),
        ("name: python3", "name: python33", "No such kernel named python33"),
        (":tags: [parameters]", ":tags: [parameters", "expected ',' or ']'"),
        (":tags: [parameters]", ":tags: [parmeters]", "expected the tag `parameters` on the first cell"),
    ],
)
def test_a_slip_in_a_page_ends_with_its_reason(checkout, right, wrong, reason):
    (checkout / "book/toy.md").write_text(PAGE.replace(right, wrong))
    done = make(checkout, "notebooks", "SCALE=smoke")
    assert done.returncode == 2
    assert reason in "\n".join(done.stderr.splitlines()[-12:]), done.stderr
    assert not (checkout / "_build/smoke/toy.ipynb").exists()
    assert not litter(checkout)


def test_a_full_disk_leaves_nothing_half_written(checkout):
    """A limit on the size of files, as near as one comes to a full disk without being root."""
    line = f"ulimit -f 4; PATH={ROOT}/.venv/bin:$PATH make notebooks SCALE=smoke"  # blocks of 1024 bytes
    done = subprocess.run(["bash", "-c", line], cwd=checkout, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert re.search("File too large|disk I/O error", done.stderr), done.stderr  # SQLite has its own words
    assert not (checkout / "_build/smoke/toy.ipynb").exists()
    assert not litter(checkout)


def test_two_builds_at_a_time_leave_each_other_alone(checkout):
    line = ["make", "notebooks", "SCALE=smoke"]
    both = [subprocess.Popen(line, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    said = [build.communicate(timeout=300)[1].decode() for build in both]
    assert [build.returncode for build in both] == [0, 0], said
    assert executed(checkout)
    assert not litter(checkout)


def test_the_kernels_are_kept_beside_the_book_where_there_is_no_cache(monkeypatch, tmp_path):
    beside = tmp_path / "beside"
    monkeypatch.setattr(build, "BESIDE", beside)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/dev/null")
    assert build._writable(build._places()) == beside
    monkeypatch.setattr(build, "BESIDE", Path("/dev/null/beside"))
    with pytest.raises(OSError, match=r"no place to keep them: .*/dev/null/blackbox.*/dev/null/beside"):
        build._writable(build._places())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_saving_an_unedited_page_in_jupyterlab_leaves_it_as_it_is(page, tmp_path):
    """As JupyterLab does: it opens a page through the contents API, notes the kernel, and saves."""
    shutil.copy(page, tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    contents = build_sync_jupytext_contents_manager_class(LargeFileManager)(root_dir=str(tmp_path))
    content = contents.get(page.name, type="notebook")["content"]
    spec = json.loads((Path(sys.prefix) / "share/jupyter/kernels/python3/kernel.json").read_text())
    kernel = {"name": "python3", "display_name": spec["display_name"], "language": spec["language"]}
    content["metadata"].update(kernelspec=kernel, language_info={"name": "python", "version": "3.11.7"})
    contents.save({"type": "notebook", "format": "json", "content": content}, page.name)
    assert (tmp_path / page.name).read_bytes() == page.read_bytes()


def loads(source):
    """Calls that can run code which stands in a file that is loaded."""
    calls = [
        r"\bpickle\.loads?\(",
        r"\bjoblib\.load\(",
        r"torch\.load\((?![^)]*weights_only=True)",
        r"allow_pickle=True",
        r"Model\w*\.from_pretrained\((?![^)]*use_safetensors=True)",
        r"trust_remote_code=True",
        r"yaml\.(?:unsafe_)?load\(",
    ]
    return re.findall("|".join(calls), source)


def test_nothing_that_is_loaded_runs_code():
    for path in [*ROOT.glob("lib/**/*.py"), *ROOT.glob("book/*.md"), *ROOT.glob("benchmarks/*.py")]:
        assert not loads(path.read_text(encoding="utf-8")), path
    assert loads("torch.load(path)")
    assert loads("np.load(path, allow_pickle=True)")
