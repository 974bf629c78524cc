"""Who does the work of a training run: fused C++ kernels on the CPU, plain torch elsewhere.

The environment variable BLACKBOX_ENGINE (`torch`, `cpp` or `triton`) forces one for the problems that have fused kernels.
Triton's, for a GPU, is never chosen by itself: it has not been run on a card yet.
"""

import functools
import importlib
import os
import sys
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .optimisers import Optimiser, State
from .problems import Problem

FUSED = {"cpp": "cpp", "triton": "triton_kernels"}  # engine -> module
CACHE = 1 << 18  # numbers, 1 MB in float32, a usual second-level cache
STEPS = 5000  # in one call at most, and
TOUCHED = {"cpp": 1 << 31, "triton": 1 << 36}  # numbers touched in one call at most, so that an interrupt is heard soon


def engine(problem: Problem, optimiser: Optimiser) -> str:
    """The name of the engine that trains `problem` with `optimiser`.

    Raises:
        ValueError: if BLACKBOX_ENGINE forces one that does not exist or cannot.
    """
    forced = os.environ.get("BLACKBOX_ENGINE")
    if forced not in (None, "", "torch", *FUSED):
        raise ValueError(f"BLACKBOX_ENGINE = {forced!r}: expected one of torch, {', '.join(FUSED)}")
    if forced == "torch" or problem.kernel is None:
        return "torch"
    name = forced or "cpp"
    if fused(name) is not None and fused(name).supports(problem, optimiser):
        return name
    if forced:
        raise ValueError(f"BLACKBOX_ENGINE = {forced!r}: expected a problem that it can train, on its device")
    return "torch"


@functools.cache
def fused(name: str) -> Any:
    """The module of an engine, or None, with a notice of one line, where it cannot be imported."""
    try:
        return importlib.import_module(f"{__package__}.fused.{FUSED[name]}")
    except ImportError as reason:
        print(f"Fused {name} kernels are off, plain torch is used (slower, same results): {reason}", file=sys.stderr)
        return None


def advance(problem: Problem, state: State, steps: int) -> None:
    """`steps` updates of the `optimisers.State` in place; the parameters of `problem` do not matter, its data do."""
    name = engine(problem, state.optimiser)
    if name == "torch":
        return _torch(problem, state, steps)
    touched = len(state.sizes) * (problem.working_set or 1)
    most = max(1, min(STEPS, TOUCHED[name] // touched))
    for start in range(0, steps, most):
        fused(name).advance(problem, state, min(most, steps - start))


def losses(problem: Problem, state: State) -> Float[Tensor, " members"]:
    """What is reported of `problem`, at the state's parameters."""
    name = engine(problem, state.optimiser)
    if name != "torch":
        return fused(name).evaluate(problem, state.theta)[0]
    with torch.no_grad():
        return problem.with_theta(state.theta).losses()


def _torch(problem, state, steps):
    """Plain torch; on a CPU a chunk of members after the other, so that what a step touches stays in the cache."""
    members = chunk = len(state.sizes)
    if state.theta.device.type == "cpu" and problem.working_set:
        chunk = max(32, CACHE // problem.working_set)
    for start in range(0, members, chunk):
        whole = chunk >= members
        rows = torch.arange(start, min(start + chunk, members))
        part = problem if whole else problem.select(rows)
        share = state if whole else state[start : start + chunk]
        for _ in range(steps):
            share.step(part.gradient(share.theta, share.t)[1])
    state.t = share.t
