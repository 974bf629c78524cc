"""The kernels for the page: compiled to WebAssembly, `engine.wasm`, which is committed. `make wasm` writes it.

The module describes itself: it carries, as custom sections, the hash of what it was made from ("sources") and, for the page,
how the kernels' jobs lie in its memory ("layout").
"""

import ctypes
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ..embedding import MODES
from ..problems import ACTIVATIONS, LOSSES
from .build import SOURCES
from .cpp import KERNELS, MAX_LAYERS

ENGINE = Path(__file__).with_name("engine.wasm")
ZIG = "0.17.1"  # of the package ziglang; another one gives other bytes
FLAGS = ["-target", "wasm32-wasi", "-mcpu=generic+simd128", "-mexec-model=reactor", "-std=c++17", "-O3", "-fno-exceptions"]
FLAGS += ["-fno-rtti", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-ffp-contract=fast", "-s"]
SIZES = {ctypes.c_int64: ("i", 8), ctypes.c_double: ("d", 8)}  # what is left are pointers, of four bytes there


def layout() -> dict:
    """What the page must know: structures, and the orders of the C++ enumerations.

    A structure is {"size": bytes, "fields": {name: [kind, offset]}}, kind "i", "d", "p" or another structure.
    """
    return {
        "jobs": {name: _structure(kernel.job) for name, kernel in KERNELS.items()},
        "activations": list(ACTIVATIONS),
        "losses": list(LOSSES),
        "modes": list(MODES),
        "max_layers": MAX_LAYERS,
    }


def _structure(structure):
    fields, at = {}, 0
    for name, type_ in structure._fields_:
        if issubclass(type_, ctypes.Structure):
            kind, size, align = _structure(type_), _structure(type_)["size"], 8
        else:
            kind, size = SIZES.get(type_, ("p", 4))
            align = size
        at = -(-at // align) * align
        fields[name] = [kind, at]
        at += size
    return {"size": -(-at // 8) * 8, "fields": fields}


def version() -> str:
    """The hash of everything that `engine.wasm` is made from."""
    parts = [ZIG, *FLAGS, *(path.name + "\0" + path.read_text() for path in SOURCES), json.dumps(layout())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def sections(module: bytes) -> dict[str, bytes]:
    """The custom sections of a WebAssembly module, by name."""
    found, at = {}, 8
    while at < len(module):
        kind, (length, at) = module[at], _number(module, at + 1)
        if kind == 0:
            size, start = _number(module, at)
            found[module[start : start + size].decode()] = module[start + size : at + length]
        at += length
    return found


def _number(data, at):
    """An unsigned LEB128 number, and where it ends."""
    value, shift = 0, 0
    while True:
        value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def _leb(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _section(name, content):
    body = _leb(len(name)) + name.encode() + content
    return b"\0" + _leb(len(body)) + body


def compiled() -> bytes:
    """The module, made anew: the same bytes from the same sources on every machine.

    Raises:
        RuntimeError: if ziglang is missing, is another version, or fails.
    """
    zig = [sys.executable, "-m", "ziglang"]
    found = subprocess.run([*zig, "version"], capture_output=True, text=True)
    if found.stdout.strip() != ZIG:
        raise RuntimeError(f"ziglang = {found.stdout.strip() or 'missing'}: expected {ZIG}")
    with tempfile.TemporaryDirectory() as folder:
        for path in SOURCES:  # no path of this machine enters
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        done = subprocess.run(
            [*zig, "c++", *FLAGS, "kernels.cpp", "-o", "engine.wasm"], cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"ziglang failed: {done.stderr.strip()}")
        module = (Path(folder) / "engine.wasm").read_bytes()
    return module + _section("sources", version().encode()) + _section("layout", json.dumps(layout()).encode())


if __name__ == "__main__":
    ENGINE.write_bytes(compiled())
    print(f"{ENGINE.name}: {ENGINE.stat().st_size} bytes")
