"""The network: one trainable point for each entity, and a decoder that reads two points and says yes or no.

Many networks train in one program. All their parameters lie in one packed buffer, a network after the other: the points
E (d, n), then W (out, in) and b (out) of each layer. Pairs are columns, which batched matrix products like best. Narrow
decoders are padded with zeros to the widest: a padded tanh unit says 0 and receives no gradient, so it stays 0.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F

from ...checks import check
from ...kernels.mlp import parameter_count
from ...kernels.optimisers import Adam
from ...kernels.problems import Problem, unpack
from ...kernels.tensors import check_tensor
from ...kernels.training import train
from .statics import draw_pairs, relation

MODES = {"concatenation", "difference", "squared difference"}
LOSSES = {"bce": 0.0, "mse": 0.5}  # and the output above which the answer is yes
CACHED = 2**17  # numbers in one layer of a chunk of networks that a core's cache holds well


def tanh_(h):
    """tanh in place, as 2 sigmoid(2h) - 1: on a CPU several times faster than `torch.tanh_`."""
    return h.mul_(2).sigmoid_().mul_(2).sub_(1)


@dataclass(frozen=True)
class GraphAutoencoder(Problem):
    """A stack of networks, each with a relation to learn and the pairs it may see.

    Attributes:
        theta: packed parameters (members * parameters,), floating; its device and dtype are the stack's.
        labels: the relation, (members, n, n) bool.
        seen: the pairs trained on, (members, n, n) bool.
        widths: of each member's hidden layers, (members,) int64 on the CPU.
        shape: layer sizes of the (padded) decoder, inputs first; (2, 1) is a decoder without hidden layers.
        mode: what the decoder reads: "concatenation" (E_i, E_j), "difference" E_i - E_j, or "squared difference",
            element by element.
        loss: "bce" (binary cross-entropy of the output as a logit) or "mse", a mean over the pairs seen.
    """

    theta: torch.Tensor
    labels: torch.Tensor
    seen: torch.Tensor
    widths: torch.Tensor
    shape: tuple
    mode: str = "concatenation"
    loss: str = "bce"

    def __post_init__(self):
        check("mode", self.mode, MODES)
        check("loss", self.loss, set(LOSSES))
        check("shape", list(self.shape), [int], low=1, least=2)
        check_tensor("theta", self.theta, 1, finite=False)
        for name in ("labels", "seen"):
            value = check_tensor(name, getattr(self, name), 3, floating=False)
            if value.dtype != torch.bool or value.shape != self.labels.shape or value.shape[1] != value.shape[2]:
                here = f"{name} = tensor of shape {tuple(value.shape)}, {value.dtype}"
                raise ValueError(f"{here}: expected (members, n, n), bool, the same for labels and seen")
        if len(self.theta) != self.members * self.parameters:
            shape = f"({self.members} * {self.parameters},)"
            raise ValueError(f"theta = tensor of shape {tuple(self.theta.shape)}: expected {shape}")

    @property
    def members(self):
        """Number of networks."""
        return len(self.labels)

    @property
    def depth(self):
        """Number of hidden layers."""
        return len(self.shape) - 2

    @property
    def dim(self):
        """Dimension of the points."""
        return self.shape[0] // 2 if self.mode == "concatenation" else self.shape[0]

    @property
    def parameters(self):
        """Parameters of one network, padding included."""
        return self.labels.shape[1] * self.dim + parameter_count(self.shape)

    @property
    def sizes(self):
        """(members,) int64: `parameters` of each member."""
        return torch.full((self.members,), self.parameters, device=self.theta.device)

    def unpack(self, theta=None):
        """Views into the packed buffer: E (members, d, n) and a list of (W (members, out, in), b (members, out, 1))."""
        block = (self.theta if theta is None else theta).view(self.members, -1)
        shapes = [shape for i, o in pairwise(self.shape) for shape in ((o, i), (o, 1))]
        points, *layers = unpack(block, [(self.dim, self.labels.shape[1]), *shapes])
        return points, list(zip(layers[::2], layers[1::2], strict=True))

    @property
    def points(self):
        """The entities' points, (members, n, d)."""
        return self.unpack()[0].transpose(1, 2)

    def select(self, members):
        """The problem of the given members only (int64 indices)."""
        rows = {name: getattr(self, name)[members] for name in ("labels", "seen")}
        theta = self.theta.view(self.members, -1)[members].flatten()
        return replace(self, theta=theta, widths=self.widths[members.cpu()], **rows)

    @cached_property
    def _pairs(self):
        """The pairs seen, padded to the longest list: i, j (members, T), label and weight (members, T), weights sum to 1."""
        n, counts = self.labels.shape[1], self.seen.flatten(1).sum(1)
        index = self.seen.flatten(1).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
        inside = torch.arange(index.shape[1], device=index.device) < counts[:, None]
        y = self.labels.flatten(1).gather(1, index).to(self.theta.dtype)
        return index // n, index % n, y, inside / counts[:, None].to(self.theta.dtype)

    @cached_property
    def _chunks(self):
        """Members that are worked on together: (rows, pairs, width), as long and as wide as the largest among them."""
        counts = self.seen.flatten(1).sum(1).tolist()
        each = max(1, CACHED // (max(counts) * max(self.shape))) if self.theta.device.type == "cpu" else self.members
        cuts = [slice(i, min(i + each, self.members)) for i in range(0, self.members, each)]
        return [(rows, max(counts[rows]), int(self.widths[rows].max())) for rows in cuts]

    def _read(self, points, i, j):
        """The decoder's input (members, inputs, T) for pairs i, j (members, T) of the points (members, d, n)."""
        a, b = (points.gather(2, k[:, None].expand(-1, self.dim, -1)) for k in (i, j))
        if self.mode == "concatenation":
            return torch.cat([a, b], 1)
        return a - b if self.mode == "difference" else (a - b).square()

    def outputs(self):
        """What every network says of every pair, (members, n, n); differentiable in `theta`."""
        n, (points, layers) = self.labels.shape[1], self.unpack()
        grid = torch.arange(n * n, device=self.theta.device).expand(self.members, -1)
        said = []
        for rows, _, _ in self._chunks:
            h = self._read(points[rows], grid[rows] // n, grid[rows] % n)
            for depth, (W, b) in enumerate(layers):
                h = torch.baddbmm(b[rows], W[rows], h if depth == 0 else torch.tanh(h))
            said.append(h.view(-1, n, n))
        return torch.cat(said)

    def losses(self, step=None):
        """Losses (members,) over all pairs seen, in every step."""
        y, f = self.labels.to(self.theta.dtype), self.outputs()
        each = (f - y).square() if self.loss == "mse" else F.binary_cross_entropy_with_logits(f, y, reduction="none")
        return (each * self.seen).sum((1, 2)) / self.seen.sum((1, 2))

    def accuracy(self):
        """Shares of right answers among the pairs seen and the pairs not seen, (2, members)."""
        right = (self.outputs().detach() > LOSSES[self.loss]) == self.labels
        return torch.stack([(right & part).sum((1, 2)) / part.sum((1, 2)) for part in (self.seen, ~self.seen)])

    def gradient(self, theta, step=None):
        """As `Problem.gradient`, by hand, a chunk of members at a time."""
        losses, grad = [], torch.zeros_like(theta)
        (points, layers), (into, grads) = self.unpack(theta), self.unpack(grad)
        for rows, count, width in self._chunks:
            i, j, y, weight = (t[rows, :count] for t in self._pairs)
            inputs = [self._read(points[rows], i, j)]
            cut = [(W[rows, :width, : width if k else None], b[rows, :width]) for k, (W, b) in enumerate(layers)]
            for W, b in cut[:-1]:
                inputs.append(tanh_(torch.baddbmm(b, W, inputs[-1])))
            f = torch.baddbmm(cut[-1][1], cut[-1][0], inputs[-1])[:, 0]
            if self.loss == "mse":
                losses.append(((f - y).square() * weight).sum(1))
                delta = ((f - y) * weight).mul_(2)[:, None]
            else:
                losses.append((F.binary_cross_entropy_with_logits(f, y, reduction="none") * weight).sum(1))
                delta = ((torch.sigmoid(f) - y) * weight)[:, None]
            for k in range(self.depth, -1, -1):
                fan_out, fan_in = cut[k][0].shape[1:]
                grads[k][0][rows, :fan_out, :fan_in] = torch.bmm(delta, inputs[k].transpose(1, 2))
                grads[k][1][rows, :fan_out] = delta.sum(2, keepdim=True)
                delta = torch.bmm(cut[k][0].transpose(1, 2), delta)
                if k:
                    delta.addcmul_(delta, inputs[k].square_(), value=-1)  # the slope of tanh is 1 - tanh²
            self._scatter(into[rows], points[rows], i, j, delta)
        return torch.cat(losses), grad

    def _scatter(self, into, points, i, j, delta):
        """Add the gradient `delta` (members, inputs, T) of the decoder's input to the points it was read from."""
        i, j = (k[:, None].expand(-1, self.dim, -1) for k in (i, j))
        if self.mode == "squared difference":
            delta = delta * (points.gather(2, i) - points.gather(2, j)).mul_(2)
        a, b = delta.split(self.dim, 1) if self.mode == "concatenation" else (delta, -delta)
        into.scatter_add_(2, i, a).scatter_add_(2, j, b)


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
        depth, mode, loss: see `GraphAutoencoder`; dim is the dimension of the points.

    Raises:
        ValueError: for a bad argument, or if the lengths differ.
    """
    check("depth", depth, int, low=0)
    check("dim", dim, int, low=1)
    check("mode", mode, MODES)
    count = len(check_tensor("seen", seen, 3, floating=False))
    widths, spread = ([v] * count if isinstance(v, int | float) else list(v) for v in (widths, spread))
    for name, values, kind, low in (
        ("seeds", list(seeds), int, 0),
        ("widths", widths, int, 1),
        ("spread", spread, float, 0),
    ):
        check(name, values, [kind], low=low)
        if len(values) != count:
            raise ValueError(f"{name} = {len(values)} values: expected one for each of {count} members")
    inputs = 2 * dim if mode == "concatenation" else dim
    shape = (inputs, *[max(widths)] * depth, 1)
    labels, seen = labels.expand(count, -1, -1).contiguous().to(device), seen.to(device)
    theta = torch.zeros(count * (seen.shape[1] * dim + parameter_count(shape)), dtype=torch.float64)
    problem = GraphAutoencoder(theta, labels, seen, torch.tensor(widths), shape, mode, loss)
    points, layers = problem.unpack()
    for m, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        points[m] = spread[m] * torch.randn(points.shape[1:], generator=generator, dtype=torch.float64)
        own = (inputs, *[widths[m]] * depth, 1)
        for (W, b), (i, o) in zip(layers, pairwise(own), strict=True):
            draw = (torch.rand(o, i + 1, generator=generator, dtype=torch.float64) * 2 - 1) / i**0.5
            W[m, :o, :i], b[m, :o, 0] = draw[:, :i], draw[:, i]
    return problem.with_theta(theta.to(device, dtype))


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
    spread = torch.empty_like(problem.theta).view(problem.members, -1)
    at = problem.labels.shape[1] * problem.dim
    spread[:, :at], spread[:, at:] = (
        torch.as_tensor(v, dtype=spread.dtype, device=spread.device).view(-1, 1) for v in (points, decoder)
    )
    return spread.flatten()


def train_graph_autoencoder(
    problem, encoder_rate, decoder_rate, steps, *, optimiser=Adam, every=50, stop=None, record=None, progress=iter
):
    """Train all members at once, each with its own relation, pairs, widths and two learning rates.

    Members of like width and like number of pairs should lie next to each other: they are worked on in chunks, each as
    wide and as long as its largest member.

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
    accuracies, records = [], []

    def watch(step, now):
        accuracies.append(now.accuracy())
        if record is not None:
            records.append(record(step, now))

    run = train(
        problem,
        optimiser(per_parameter(problem, encoder_rate, decoder_rate)),
        steps,
        at=range(0, steps + 1, every),
        record=watch,
        finished=None if stop is None else lambda _: (accuracies[-1] >= stop).all(0),
        progress=progress,
    )
    return Training(run.problem, run.steps, torch.stack(accuracies).cpu(), records)


def train_one_by_one(problem, encoder_rate, decoder_rate, steps, *, optimiser=torch.optim.Adam, every=50):
    """The plain reference of `train_graph_autoencoder`: a loop over members, autograd, torch.optim, no padding.

    Rates are (members,) each. Returns the accuracies (S, 2, members).
    """
    points, layers = problem.unpack()
    histories = []
    for m in range(problem.members):
        width = int(problem.widths[m])
        E = torch.nn.Parameter(points[m].T.clone())
        linear = []
        for k, (W, b) in enumerate(layers):
            W, b = W[m, :width, : width if k else None], b[m, :width, 0]
            linear.append(torch.nn.Linear(*W.T.shape, dtype=W.dtype))
            linear[-1].weight.data, linear[-1].bias.data = W.clone(), b.clone()
        pieces = [piece for each in linear for piece in (each, torch.nn.Tanh())]
        decoder = torch.nn.Sequential(*pieces[:-1])
        steer = optimiser(
            [
                {"params": [E], "lr": float(encoder_rate[m])},
                {"params": decoder.parameters(), "lr": float(decoder_rate[m])},
            ]
        )
        i, j = problem.seen[m].nonzero(as_tuple=True)
        y = problem.labels[m].to(E.dtype)
        rows, cols = torch.ones_like(y).nonzero(as_tuple=True)
        history = []

        def say(i, j, E=E, decoder=decoder):
            a, b = E[i], E[j]
            x = torch.cat([a, b], 1) if problem.mode == "concatenation" else a - b
            return decoder(x.square() if problem.mode == "squared difference" else x)[:, 0]

        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                right = (say(rows, cols).view_as(y) > LOSSES[problem.loss]) == problem.labels[m]
                history.append([right[part].double().mean().item() for part in (problem.seen[m], ~problem.seen[m])])
            steer.zero_grad()
            f, t = say(i, j), y[i, j]
            loss = F.mse_loss(f, t) if problem.loss == "mse" else F.binary_cross_entropy_with_logits(f, t)
            loss.backward()
            steer.step()
        histories.append(history)
    return torch.tensor(histories).permute(1, 2, 0)
