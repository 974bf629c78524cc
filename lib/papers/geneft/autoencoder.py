"""The network: one trainable point for each entity, and a decoder that reads two points and says yes or no."""

import math
from dataclasses import dataclass, replace
from itertools import groupby

import torch

from ...checks import check
from ...kernels.embedding import MODES, Embedded
from ...kernels.mlp import fan_in_start
from ...kernels.optimisers import Adam
from ...kernels.tensors import check_tensor
from ...kernels.training import train
from .statics import draw_pairs, relation

YES = {"bce": 0.0, "mse": 0.5}  # the output above which the answer is yes, for each loss


@dataclass(frozen=True, kw_only=True)
class GraphAutoencoder(Embedded):
    """A stack of networks, each with a relation to learn and the pairs it may see.

    Attributes:
        labels: the relation, (members, n, n) bool.
        seen: the pairs trained on, (members, n, n) bool.
    """

    labels: torch.Tensor
    seen: torch.Tensor

    @property
    def points(self):
        """The entities' points, (members, n, d)."""
        return torch.cat([points for points, _ in self.unpack()])

    def select(self, members):
        """The problem of the given members only (int64 indices, ascending)."""
        return replace(super().select(members), labels=self.labels[members], seen=self.seen[members])

    def outputs(self):
        """What every network says of every pair, (members, n, n); differentiable in `theta`."""
        n = self.tokens
        grid = torch.cartesian_prod(*[torch.arange(n, device=self.theta.device)] * 2)
        return self(grid.expand(len(self.labels), -1, -1)).view(-1, n, n)

    def accuracy(self):
        """Shares of right answers among the pairs seen and the pairs not seen, (2, members)."""
        right = (self.outputs().detach() > YES[self.loss]) == self.labels
        return torch.stack([(right & part).sum((1, 2)) / part.sum((1, 2)) for part in (self.seen, ~self.seen)])


def graph_autoencoder(
    labels, seen, seeds, *, widths=50, depth=3, dim=2, mode="concatenation", loss="bce", spread=0.5,
    dtype=torch.float32, device="cpu",
):  # fmt: skip
    """A stack of fresh networks: points ~ spread * N(0, 1), decoder layers as PyTorch's (uniform, 1/sqrt(fan in)).

    Args:
        labels: the relations, (members, n, n) or (n, n) bool.
        seen: the pairs each network trains on, (members, n, n) bool.
        seeds: (members,) ints; a member's start depends on its own seed and shape alone.
        widths: of the hidden layers, an int or one for each member.
        spread: standard deviation of the points, a number or one for each member.
        depth: number of hidden layers. dim: dimension of the points.
        mode: what the decoder reads: "concatenation" (E_i, E_j), "difference" E_i - E_j, or "squared difference", element by
            element.
        loss: "bce" (binary cross-entropy of the output as a logit) or "mse", a mean over the pairs seen.

    Raises:
        ValueError: for a bad argument, or if the lengths differ.
    """
    check("depth", depth, int, low=0)
    check("dim", dim, int, low=1)
    check("loss", loss, set(YES))
    check("mode", mode, set(MODES) - {"sum"})
    count, n = check_tensor("seen", seen, 3, floating=False).shape[:2]
    widths, spread = ([v] * count if isinstance(v, int | float) else list(v) for v in (widths, spread))
    for name, values, kind, low in (
        ("seeds", list(seeds), int, 0),
        ("widths", widths, int, 1),
        ("spread", spread, float, 0),
    ):
        check(name, values, [kind], low=low)
        if len(values) != count:
            raise ValueError(f"{name} = {len(values)} values: expected one for each of {count} members")
    labels = labels.expand(count, -1, -1).contiguous()
    for name, value in (("labels", labels), ("seen", seen)):
        if value.dtype != torch.bool or value.shape != (count, n, n):
            here = f"{name} = tensor of shape {tuple(value.shape)}, {value.dtype}"
            raise ValueError(f"{here}: expected ({count}, {n}, {n}), bool")
    shapes = [(2 * dim if mode == "concatenation" else dim, *[width] * depth, 1) for width in widths]
    starts = []
    for m, (seed, sizes) in enumerate(zip(seeds, shapes, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        starts.append(spread[m] * torch.randn(dim, n, generator=generator, dtype=torch.float64).T.flatten())
        starts.append(fan_in_start(1, [sizes], generator)[0])
    counts = seen.flatten(1).sum(1)
    index = seen.flatten(1).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
    weight = (torch.arange(index.shape[1]) < counts[:, None]) / counts[:, None].to(dtype)  # 0 for what fills shorter lists
    return GraphAutoencoder(
        torch.cat(starts).to(device, dtype), n, dim, tuple((len(list(same)), sizes) for sizes, same in groupby(shapes)),
        torch.stack([index // n, index % n], 2).to(device), labels.flatten(1).gather(1, index)[..., None].to(device, dtype),
        weight.to(device), "tanh", mode, loss, labels=labels.to(device), seen=seen.to(device),
    )  # fmt: skip


def students(names, fractions, seeds, **options):
    """One fresh network for each entry: its relation, the fraction of pairs it sees, its seed (of pairs and start).

    Args:
        names, fractions, seeds: sequences of one length; relations by name, see `statics`.
        options: as for `graph_autoencoder`.
    """
    tables = {name: relation(name) for name in set(names)}
    labels = torch.stack([tables[name] for name in names])
    return graph_autoencoder(labels, draw_pairs(fractions, seeds), seeds, **options)


@dataclass(frozen=True)
class Training:
    """What `train_graph_autoencoder` returns.

    Attributes:
        problem: the networks at the end.
        steps: recorded steps, (S,) int64.
        accuracies: shares of right answers among the pairs seen and not seen, (S, 2, members), on the CPU.
        records: what `record` returned, one a recorded step.
    """

    problem: GraphAutoencoder
    steps: torch.Tensor
    accuracies: torch.Tensor
    records: list

    @property
    def unseen(self):
        """Test accuracy at the end, (members,)."""
        return self.accuracies[-1, 1]

    @property
    def everywhere(self):
        """Accuracy on all pairs at the end, (members,)."""
        share = self.problem.seen.double().mean((1, 2)).cpu()
        return share * self.accuracies[-1, 0] + (1 - share) * self.accuracies[-1, 1]


def per_parameter(problem, points, decoder):
    """A setting for every parameter, (total,): one for the points and one for the rest, each a number or (members,)."""
    like = {"dtype": problem.theta.dtype, "device": problem.theta.device}
    members = torch.zeros(len(problem.sizes), **like)
    each = torch.stack([torch.as_tensor(v, **like) + members for v in (points, decoder)], 1).flatten()
    at = torch.full_like(problem.sizes, problem.tokens * problem.dim)
    return each.repeat_interleave(torch.stack([at, problem.sizes - at], 1).flatten())


def train_graph_autoencoder(
    problem, encoder_rate, decoder_rate, steps, *, optimiser=Adam, every=50, stop=None, record=None, progress=iter
):
    """Train all members at once, each with its own relation, pairs, widths and two learning rates.

    Members of equal width should lie next to each other.

    Args:
        problem: a `GraphAutoencoder`; it is left as it was.
        encoder_rate, decoder_rate: learning rates of the points and of the decoder, a number or (members,) each.
        steps: full-batch updates.
        optimiser: `Adam` or `SGD` (plain gradient descent).
        every: steps between two records of the accuracies.
        stop: a member whose two accuracies have both reached this level at a record stops for good; None for never.
        record: function of (step, problem) called at each record, besides the accuracies.
        progress: a wrapper for the iterable of legs between records.

    Raises:
        ValueError: for a bad argument, or if a loss is not finite at a record.
    """
    check("every", every, int, low=1)
    check("steps", steps, int, low=1)
    level = math.inf if stop is None else stop
    accuracies, records = [], []

    def watch(step, now):
        found = accuracies[-1].clone() if accuracies else torch.zeros(2, len(now.sizes), device=now.theta.device)
        running = torch.nonzero((found < level).any(0)).flatten()  # the others no longer change
        if len(running):
            found[:, running] = now.select(running).accuracy()
        accuracies.append(found)
        if record is not None:
            records.append(record(step, now))

    run = train(
        problem,
        optimiser(per_parameter(problem, encoder_rate, decoder_rate)),
        steps,
        at=range(0, steps + 1, every),
        record=watch,
        finished=lambda _: (accuracies[-1] >= level).all(0),
        progress=progress,
    )
    return Training(run.problem, run.steps, torch.stack(accuracies).cpu(), records)
