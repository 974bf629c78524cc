"""The training loop: many members at once, recording on a schedule, dropping members that are finished."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..checks import check
from .engines import advance
from .engines import losses as losses_of
from .optimisers import Optimiser, State
from .problems import Problem


@dataclass(frozen=True)
class Run:
    """What `train` returns.

    Attributes:
        problem: the problem at its last parameters, all members.
        steps: recorded steps.
        losses: at those steps; a member dropped by compaction keeps its last value.
        records: what `record` returned, one a recorded step.
    """

    problem: Problem
    steps: Int[Tensor, " records"]
    losses: Float[Tensor, "records members"]
    records: list


def schedule(steps: int, records: int) -> list[int]:
    """About `records` steps from 0 to `steps`, evenly spaced in log(1 + step), ascending and distinct."""
    grid = torch.logspace(0, torch.log10(torch.tensor(float(steps + 1))).item(), records, dtype=torch.float64) - 1
    return sorted({0, steps, *grid.round().long().clamp(0, steps).tolist()})


def train(
    problem: Problem,
    optimiser: Optimiser,
    steps: int,
    *,
    at: Iterable[int] = (),
    record: Callable[[int, Any], Any] | None = None,
    finished: Callable[[Tensor], Tensor] | None = None,
    permute: Callable[[int, Any], Tensor | None] | None = None,
    progress: Callable[[list], Iterable] = iter,
) -> Run:
    """Train every member of `problem` for `steps` steps.

    Args:
        problem: a `problems.Problem`. It is left as it was. Where a fused kernel serves it and is available, that one does
            the work, with the same results (`engines`).
        optimiser: see `optimisers`.
        steps: number of updates.
        at: steps at which to record, counted in updates done; the last step is always recorded.
        record: function of (step, problem) called there with all members; its results are collected.
        finished: function of the losses (members,) giving a bool mask (members,): at a recorded step these members stop
            for good, and the rest go on in a smaller stack (compaction).
        permute: function of (step, problem), called before `record` with the members that still run, which gives None or
            int64 indices (total,): parameter i goes on as parameter `indices[i]` was, its moments with it.
        progress: a wrapper for the iterable of legs between records, such as `tqdm`.

    Returns:
        A `Run`.

    Raises:
        ValueError: for a bad argument, or if a loss is not finite at a recorded step (its members are named).
    """
    check("steps", steps, int, low=1)
    at = sorted({*at, steps})
    check("at", at, [int], low=0, high=steps)
    theta, sizes = problem.theta.detach().clone(), problem.sizes
    running = torch.ones(len(sizes), dtype=torch.bool, device=theta.device)
    part, state = problem, State(optimiser, theta.clone(), sizes)
    last = torch.full((len(sizes),), float("nan"), dtype=theta.dtype, device=theta.device)
    losses, records = [], []
    for leg in progress(list(zip([0, *at], at, strict=False))):
        if len(state.sizes):
            advance(part, state, leg[1] - leg[0])
            if permute is not None and (order := permute(leg[1], part.with_theta(state.theta))) is not None:
                state.permute(order)
            last[running] = losses_of(part, state)
            if len(state.sizes) == len(sizes):
                theta.copy_(state.theta)
            else:
                theta[torch.repeat_interleave(running, sizes)] = state.theta
        losses.append(last.clone())
        if not bool(torch.isfinite(last).all()):
            bad = torch.nonzero(~torch.isfinite(last)).flatten().tolist()
            raise ValueError(f"losses = not finite at step {leg[1]} for members {bad[:8]}: expected a smaller rate")
        if record is not None:
            records.append(record(leg[1], problem.with_theta(theta.clone())))
        if finished is not None and len(state.sizes):
            keep = ~finished(last)[running]
            if not bool(keep.all()):
                part = part.select(torch.nonzero(keep).flatten()) if bool(keep.any()) else part
                state = state[keep]
                running[running.clone()] = keep
    return Run(problem.with_theta(theta), torch.tensor(at), torch.stack(losses), records)
