"""The training loop: many members at once, recording on a schedule, dropping members that are finished."""

from dataclasses import dataclass, replace

import torch

from ..checks import check
from .engines import advance
from .engines import losses as losses_of
from .optimisers import State
from .tensors import check_tensor


@dataclass(frozen=True)
class Differentiable:
    """Any stack of models given by a loss: what `train` runs where there is no gradient by hand.

    Attributes:
        loss: function of (parameters, members) giving the losses (len(members),): `parameters` is a dict of tensors
            (members, …), `members` the int64 indices of those still running, for looking up their own data.
        parameters: dict of tensors with the member axis first.
        members: int64 indices (members,); None for all.
    """

    loss: object
    parameters: dict
    members: torch.Tensor | None = None

    def __post_init__(self):
        counts = {name: len(check_tensor(f"parameters[{name!r}]", t)) for name, t in self.parameters.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"parameters = members {counts}: expected the same number of members in each tensor")
        if self.members is None:
            first = next(iter(self.parameters.values()))
            object.__setattr__(self, "members", torch.arange(len(first), device=first.device))

    @property
    def theta(self):
        return torch.cat([t.flatten(1) for t in self.parameters.values()], 1).flatten()

    @property
    def sizes(self):
        each = sum(t[0].numel() for t in self.parameters.values())
        return torch.full((len(self.members),), each, device=self.members.device)

    def unpack(self, theta):
        """The parameters as a dict of views into the packed `theta` (total,)."""
        block, views, at = theta.view(len(self.members), -1), {}, 0
        for name, t in self.parameters.items():
            count = t[0].numel()
            views[name] = block[:, at : at + count].unflatten(1, t.shape[1:]) if t.dim() > 1 else block[:, at]
            at += count
        return views

    def with_theta(self, theta):
        return replace(self, parameters=self.unpack(theta))

    def select(self, members):
        kept = {name: t[members] for name, t in self.parameters.items()}
        return replace(self, parameters=kept, members=self.members[members])

    def losses(self):
        """Losses (members,)."""
        return self.loss(self.parameters, self.members)

    def gradient(self, theta, step=None):
        """Losses (members,) and the gradient (total,) by autograd; `step` is for models that draw minibatches."""
        leaves = {name: t.detach().requires_grad_() for name, t in self.unpack(theta).items()}
        losses = self.loss(leaves, self.members)
        grads = torch.autograd.grad(losses.sum(), list(leaves.values()))
        return losses.detach(), torch.cat([g.flatten(1) for g in grads], 1).flatten()


@dataclass(frozen=True)
class Run:
    """What `train` returns.

    Attributes:
        model: the model at its last parameters, all members.
        steps: recorded steps, (records,), int64.
        losses: (records, members) at those steps; a member dropped by compaction keeps its last value.
        records: what `record` returned, one a recorded step.
    """

    model: object
    steps: torch.Tensor
    losses: torch.Tensor
    records: list


def schedule(steps, records):
    """About `records` steps from 0 to `steps`, evenly spaced in log(1 + step), ascending and distinct."""
    grid = torch.logspace(0, torch.log10(torch.tensor(float(steps + 1))).item(), records, dtype=torch.float64) - 1
    return sorted({0, steps, *grid.round().long().clamp(0, steps).tolist()})


def train(model, optimiser, steps, *, at=(), record=None, finished=None, progress=iter):
    """Train every member of `model` for `steps` steps.

    Args:
        model: `mlp.Regression`, `rnn.Sequences` or `Differentiable`: has `theta` (total,), `sizes` (members,),
            `losses()`, `gradient(theta, step)`, `with_theta`, `select`. It is left as it was. The first two run in
            fused kernels where these are available, with the same results (`engines`).
        optimiser: see `optimisers`.
        steps: number of updates.
        at: steps at which to record, counted in updates done; the last step is always recorded.
        record: function of (step, model) called there with all members; its results are collected.
        finished: function of the losses (members,) giving a bool mask (members,): at a recorded step these members stop
            for good, and the rest go on in a smaller stack (compaction).
        progress: a wrapper for the iterable of legs between records, such as `tqdm`.

    Raises:
        ValueError: for a bad argument, or if a loss is not finite at a recorded step (its members are named).
    """
    check("steps", steps, int, low=1)
    at = sorted({*at, steps})
    check("at", at, [int], low=0, high=steps)
    theta, sizes = model.theta.detach().clone(), model.sizes
    running = torch.ones(len(sizes), dtype=torch.bool, device=theta.device)
    part, state = model, State(optimiser, theta.clone(), sizes)
    last = torch.full((len(sizes),), float("nan"), dtype=theta.dtype, device=theta.device)
    losses, records = [], []
    for leg in progress(list(zip([0, *at], at, strict=False))):
        if len(state.sizes):
            advance(part, state, leg[1] - leg[0])
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
            records.append(record(leg[1], model.with_theta(theta.clone())))
        if finished is not None and len(state.sizes):
            keep = ~finished(last)[running]
            if not bool(keep.all()):
                part = part.select(torch.nonzero(keep).flatten()) if bool(keep.any()) else part
                state = state.select(keep, state.theta[keep[state.owner]])
                running[running.clone()] = keep
    return Run(model.with_theta(theta), torch.tensor(at), torch.stack(losses), records)
