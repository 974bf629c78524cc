"""Who may import whom: book -> lib.papers -> lib.kernels, book -> lib.figures -> lib.reading; lib.checks serves all."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {  # room -> rooms that it may import from, beside itself
    **{f"lib.{name}": set() for name in ("checks", "files", "interrupt")},
    "lib.scales": {"lib.checks"},
    "lib.kernels": {"lib.checks"},
    "lib.reading": {"lib.checks", "lib.files"},
    "lib.papers": {"lib.checks", "lib.kernels"},
    "lib.figures": {"lib.checks", "lib.papers", "lib.reading"},
    "lib.sweep": {"lib.checks", "lib.files", "lib.interrupt", "lib.reading", "lib.scales"},
    "lib.publishing": {"lib.reading"},
    "book": {"lib.checks", "lib.papers", "lib.figures", "lib.reading", "lib.kernels.optimisers"},
}


def imports(source, package):
    """Absolute names of the modules that `source` imports, relative ones resolved in `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(module):
    return ".".join(module.split(".")[:2]) if module.startswith("lib.") else module


def sources():
    for path in sorted(ROOT.glob("lib/**/*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        yield name, package, path.read_text()
    for path in sorted(ROOT.glob("book/*.md")):
        cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", path.read_text(), re.S | re.M)
        code = "\n".join(re.sub(r"^:.*\n", "", cell, flags=re.M) for cell in cells)
        yield f"book.{path.stem}", "book", code


@pytest.mark.parametrize(("name", "package", "source"), [pytest.param(*s, id=s[0]) for s in sources()])
def test_imports_follow_the_rule(name, package, source):
    here = "book" if name.startswith("book.") else room(name)
    for module in imports(source, package):
        if module.split(".")[0] != "lib" or module == "lib" or here == "lib":
            continue
        allowed = room(module) == here or any(f"{module}.".startswith(f"{place}.") for place in ALLOWED[here])
        assert allowed, f"{name} may not import {module}"
        own = name.split(".")[-1 if here == "book" else 2 :][:1]  # a module, its figures and its page share a name
        if room(module) in ("lib.papers", "lib.figures") and module.count(".") >= 2 and here != "lib.kernels":
            assert module.split(".")[2:3] == own, f"{name} may not import another paper's {module}"


def test_every_chapter_has_its_rooms():
    modules = {path.stem for path in (ROOT / "lib/papers").iterdir() if path.stem not in ("__init__", "__pycache__")}
    toc = (ROOT / "_toc.yml").read_text()
    for slug in modules:
        assert (ROOT / f"book/{slug}.md").exists()
        assert (ROOT / f"tests/test_{slug}.py").exists()
        assert f"file: book/{slug}\n" in toc
        for scale in ("smoke", "paper"):
            assert re.search(rf"^{slug}:", (ROOT / f"book/params/{scale}.yaml").read_text(), re.M)
