"""What the machine can do at best, what it is called, and how time and memory are read."""

import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def name(device="cpu"):
    """The card's or the processor's name with its cores, or the platform's."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.platform()


def versions():
    """Versions of everything that matters here."""
    found = {"python": platform.python_version()}
    for package in ("torch", "triton", "jax", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def clock(device="cpu"):
    """CPU seconds of this process and seconds on the wall, once the device has done what it was given.

    On a card both are seconds on the wall: what the processor does meanwhile does not matter.
    """
    if device == "cpu":
        return time.process_time(), time.perf_counter()
    torch.cuda.synchronize()
    return (time.perf_counter(),) * 2


def _median(call, device, repeats=6):
    """Median seconds of `call()`, the first left out."""
    times = []
    for _ in range(repeats):
        start = clock(device)[0]
        call()
        times.append(clock(device)[0] - start)
    return statistics.median(times[1:])


def matmul_rate(device="cpu"):
    """Floating-point operations a second in one large float32 matrix product (no tensor cores)."""
    n = 768 if device == "cpu" else 8192
    a, b = torch.randn(2, n, n, device=device)
    return 2 * n**3 / _median(lambda: a @ b, device)


def copy_rate(device="cpu"):
    """Bytes a second, read and written, copying memory larger than any cache."""
    megabytes = 128 if device == "cpu" else 4096
    source = torch.ones(megabytes << 18, device=device)
    target = torch.empty_like(source)
    return 2 * (megabytes << 20) / _median(lambda: target.copy_(source), device)


def memory(field):
    """Bytes that this process holds now ("VmRSS") or held at most ("VmHWM"); None where Linux does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)
