"""What the machine can do at best, what it is called, and how time and memory are read."""

import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def name():
    """The processor's name with its cores, or the platform's."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.platform()


def versions():
    """Versions of everything that matters here."""
    found = {"python": platform.python_version()}
    for package in ("torch", "jax", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def matmul_rate(n=768):
    """Floating-point operations a second in one large float32 matrix product, measured once."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    a @ b
    start = time.process_time()
    for _ in range(5):
        a @ b
    seconds = time.process_time() - start
    return 5 * 2 * n**3 / seconds


def copy_rate(megabytes=128):
    """Bytes a second, read and written, copying memory larger than any cache; the median of five."""
    source = torch.ones(megabytes << 18)
    target, times = torch.empty_like(source), []
    for _ in range(6):
        start = time.process_time()
        target.copy_(source)
        times.append(time.process_time() - start)
    return 2 * (megabytes << 20) / statistics.median(times[1:])


def _status(field):
    text = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))


def peak_bytes(call):
    """Bytes by which the process grew at most while `call()` ran; None where Linux does not tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _status("VmRSS")
        call()
        return max(0, _status("VmHWM") - before)
    except OSError:
        call()
        return None
