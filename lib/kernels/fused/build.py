"""The C++ kernels, compiled once for this machine and kept.

Their place is the user's cache, `~/.cache/torch_extensions/blackbox` or where XDG_CACHE_HOME or TORCH_EXTENSIONS_DIR say; if
nothing can be written there, `_build/blackbox` beside the book.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BESIDE = Path(__file__).parents[3] / "_build/blackbox"
SOURCES = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".h", ".cpp"))
# No -ffast-math: it hides NaN, and its start-up code changes rounding in the whole process.
# BLACKBOX_MARCH, x86-64-v2 say, compiles for another processor than this one, which rounds in another order.
FLAGS = ["-std=c++17", "-O3", f"-march={os.environ.get('BLACKBOX_MARCH', 'native')}", "-fno-math-errno"]
FLAGS += ["-fno-trapping-math", "-fno-signed-zeros", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread"]


def _compiler():
    return shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")


def _processor():
    """What -march=native depends on, as text."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return "\n".join([platform.machine(), *sorted({ln for ln in lines if ln.startswith(("flags", "Features"))})])


def _places():
    """The folders that may keep the library, first choice first."""
    user = os.environ.get("TORCH_EXTENSIONS_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "torch_extensions"
    )
    return [Path(user) / "blackbox", BESIDE]


def _writable(places):
    """The first of the folders that a file can be written in, made if it is not there."""
    reasons = []
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
            return place
        except OSError as reason:
            reasons.append(str(reason))
    raise OSError("no place to keep them: " + "; ".join(reasons))


def build() -> Path:
    """Path of the shared library, compiled if it is not kept anywhere. Safe for many processes at once.

    Raises:
        OSError, ImportError, TimeoutExpired: if there is no compiler, no lock, no place to write, or it fails.
    """
    import fcntl  # not on Windows

    compiler = _compiler()
    if compiler is None:
        raise OSError("no C++ compiler found")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    parts = [version, _processor(), *FLAGS, *(path.read_text() for path in SOURCES)]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    kept = [place / f"kernels-{key}.so" for place in _places()]
    if found := [library for library in kept if os.path.exists(library)]:
        return found[0]
    directory = _writable(_places())
    library = directory / kept[0].name
    with open(directory / f"{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                fresh = Path(scratch) / library.name
                main = next(path for path in SOURCES if path.name == "kernels.cpp")
                done = subprocess.run(
                    [compiler, *FLAGS, str(main), "-o", str(fresh)], capture_output=True, text=True, timeout=300
                )
                if done.returncode:
                    raise OSError(f"{compiler} failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
                os.replace(fresh, library)  # whole or not at all
    return library


@functools.cache
def library() -> ctypes.CDLL | None:
    """The loaded library, or None, with a notice of one line, where it cannot be had."""
    try:
        return ctypes.CDLL(str(build()))
    except (OSError, ImportError, subprocess.TimeoutExpired) as reason:
        print(f"Fused C++ kernels are off, plain torch is used (slower, same results): {reason}", file=sys.stderr)
        return None
