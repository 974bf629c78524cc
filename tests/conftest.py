"""What several test files need: where things are, and which chapters there are."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch: the tests themselves share the cores
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton: its kernels run on the CPU then

ROOT = Path(__file__).parent.parent
SMOKE = ROOT / "_build/smoke"
CHAPTERS = sorted(md.stem for md in ROOT.glob("book/*.md") if any(ROOT.glob(f"lib/papers/{md.stem}*")))


def built(path):
    """`path`, which `make test` builds before the tests run."""
    if not path.exists():
        pytest.fail(f"{path} is missing: run `make test`, which builds the book at smoke scale first")
    return path
